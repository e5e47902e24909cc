"""Incoming calls: which webhook they are for, what they bring, what they are answered."""
