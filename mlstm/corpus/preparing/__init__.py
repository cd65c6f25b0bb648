"""Large corpora: files cut into blocks at the borders of records, each made to a piece by one of
several processes, the pieces joined to shards. What is finished outlives a kill."""
