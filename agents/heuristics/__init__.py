"""Classical policies; every rule cites its source."""
