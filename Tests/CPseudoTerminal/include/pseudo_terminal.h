// What Swift cannot import from the C library of Linux.
#ifndef PSEUDO_TERMINAL_H
#define PSEUDO_TERMINAL_H

/// Opens a terminal of 80 columns and 24 rows without a window.
/// - terminal: for the program in it.
/// Returns the side of the person who types and reads, or −1.
int open_pseudo_terminal(int *_Nonnull terminal);

#endif
