"""Forecasts and anomaly detection: frames in, frames out, no files, no clock, no network."""
