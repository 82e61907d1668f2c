"""Mutation testing of the packages that carry the mathematics: which wrong lines do the tests not notice?"""
