"""What must come out of grids and sampling."""
