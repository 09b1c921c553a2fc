"""Recurrences over whole sequences: LSTM and GRU."""
