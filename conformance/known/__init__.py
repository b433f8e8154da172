"""Known failures: entries, what they are held against, and which failing cases they explain."""
