"""A report as a document, as HTML and as Markdown, in English and Korean, and its tables."""
