"""Whether one tenant can see, change or notice anything of another."""
