"""What the tables of a chapter say, as sentences: a module a chapter, tables in, sentences out."""
