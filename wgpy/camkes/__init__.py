"""The three rooms as virtual machines on seL4: CAmkES applications, written and checked."""
