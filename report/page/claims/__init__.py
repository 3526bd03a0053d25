"""The page of all claims: the reply with a verdict next to each sentence, and the evidence."""
