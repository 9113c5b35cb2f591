"""Reports: markdown and figures from recorded runs, with the data they rest on beside them. No torch here."""
