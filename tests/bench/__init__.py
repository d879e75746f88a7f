"""Speed as ratios against stock Orthanc, interleaved in one run: `make bench`."""
