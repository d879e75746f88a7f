"""What a rule changes in what is stored or leaves: morphing, and crosswalks with their tables."""
