"""A report as a document, HTML and Markdown, in English and Korean."""
