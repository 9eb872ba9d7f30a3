"""The report: one self-contained page. `page` gathers what it tells, `plots` draws, `template.html` lays it out."""
