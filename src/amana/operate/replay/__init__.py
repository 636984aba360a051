"""`amana replay`: what stands, rebuilt from the log alone and compared with the live tables row by row."""
