"""What can be said of a fitted model besides its score: rivals, growth, doubtful labels, groups, heat, trust.

Every part takes the order and the rows of a fit and gives sections of a record. Nothing here chooses a model.
"""
