"""The report: one self-contained page. `page` collects the sections, `plots` draws, `template.html` lays it out."""
