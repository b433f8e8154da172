"""Plain data types and the interfaces on which all other packages depend."""
