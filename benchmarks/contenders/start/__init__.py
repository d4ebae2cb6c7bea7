"""One insert of one's own and the start of a saga, in one transaction."""
