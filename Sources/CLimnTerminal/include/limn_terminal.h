// Lines that a person types, or that a program pipes in. In a terminal the system's libedit edits them; it is opened at
// run time rather than linked, and without it the terminal's own line editing remains.
#ifndef LIMN_TERMINAL_H
#define LIMN_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

typedef struct limn_reader limn_reader;

typedef enum {
  LIMN_READ_LINE,
  /// Ctrl-C: the line was dropped.
  LIMN_READ_DROPPED,
  LIMN_READ_END,
} limn_read;

/// Reads standard input.
/// - history: the file that keeps lines from one session to the next; NULL: none.
limn_reader *_Nonnull limn_reader_open(const char *_Nullable history);
void limn_reader_close(limn_reader *_Nonnull reader);
/// Whether a person types.
bool limn_reader_is_terminal(const limn_reader *_Nonnull reader);
/// Reads a line, which may hold several where they were pasted together, without its end.
/// - prompt: shown in a terminal only.
/// - line, count: its bytes, valid until the next call.
limn_read limn_reader_next(
  limn_reader *_Nonnull reader, const char *_Nonnull prompt, const char *_Nullable *_Nonnull line,
  size_t *_Nonnull count);
/// Puts a line into the history.
void limn_reader_remember(limn_reader *_Nonnull reader, const char *_Nonnull line);

#endif
