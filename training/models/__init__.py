"""The model families; a recipe names one and gives its sizes."""
