"""A report as a document, as an HTML page, in English and Korean (`ko.json`), and its tables."""
