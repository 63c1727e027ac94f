#define _GNU_SOURCE
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libedit.h"
#include "limn_terminal.h"

struct limn_reader {
  bool is_terminal;
  // NULL where nobody types, or there is no libedit.
  const struct limn_edit *edit;
  EditLine *editor;
  History *history;
  FILE *screen;
  char *history_file;
  const char *prompt;
  char *line;
  size_t capacity;
};

// MARK: The editor

static char *prompt_of(EditLine *editor) {
  limn_reader *reader = NULL;
  limn_edit()->el_get(editor, EL_CLIENTDATA, &reader);
  return (char *)reader->prompt;
}

static volatile sig_atomic_t is_dropped;

static unsigned char drop(EditLine *editor, wint_t key) {
  (void)editor, (void)key;
  is_dropped = 1;
  return CC_EOF;
}

static unsigned char suspend(EditLine *editor, wint_t key) {
  (void)editor, (void)key;
  raise(SIGTSTP);  // to this thread
  return CC_REDISPLAY;
}

/// Takes what a terminal sends between the marks of a paste: its line ends do not end the line.
static unsigned char paste(EditLine *editor, wint_t key) {
  (void)key;
  static const wchar_t mark[] = L"\x1b[201~";
  const size_t mark_count = sizeof mark / sizeof *mark - 1;
  const struct limn_edit *edit = limn_edit();
  size_t count = 0, capacity = 1 << 10;
  wchar_t *text = malloc(capacity * sizeof *text), next;
  while (text && edit->el_wgetc(editor, &next) == 1) {
    if (count + 2 > capacity) {
      wchar_t *larger = realloc(text, (capacity *= 2) * sizeof *text);
      if (!larger) break;
      text = larger;
    }
    // Terminals send Return where lines end; other control characters have no place in a question.
    if (next == L'\r') next = L'\n';
    if (next < L' ' && next != L'\n' && next != L'\t' && next != L'\x1b') continue;
    text[count++] = next;
    if (count >= mark_count && !wmemcmp(text + count - mark_count, mark, mark_count)) {
      count -= mark_count;
      break;
    }
  }
  if (!text) return CC_ERROR;
  while (count > 0 && text[count - 1] == L'\n') count--;
  text[count] = L'\0';
  if (count > 0) edit->el_winsertstr(editor, text);
  free(text);
  return CC_REFRESH;
}

static const char *const keys[][2] = {
  {"\\e[200~", "limn-paste"},        {"\\e[1;5C", "em-next-word"}, {"\\e[1;5D", "ed-prev-word"},
  {"\\e[1;3C", "em-next-word"},      {"\\e[1;3D", "ed-prev-word"}, {"\\e[H", "ed-move-to-beg"},
  {"\\eOH", "ed-move-to-beg"},       {"\\e[1~", "ed-move-to-beg"}, {"\\e[F", "ed-move-to-end"},
  {"\\eOF", "ed-move-to-end"},       {"\\e[4~", "ed-move-to-end"}, {"\\e[3~", "ed-delete-next-char"},
  {"^R", "em-inc-search-prev"},      {"^X^C", "limn-drop"},        {"^Z", "limn-suspend"},
};

/// Wide characters need a locale that knows them, which an environment may fail to name.
static void set_locale(void) {
  static const char *const names[] = {"", "C.UTF-8", "en_US.UTF-8", "UTF-8"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (setlocale(LC_CTYPE, names[i]) && MB_CUR_MAX > 1) return;
}

static void open_editor(limn_reader *reader) {
  const char *terminal = getenv("TERM");
  const struct limn_edit *edit = limn_edit();
  if (!edit || !terminal || !*terminal || !strcmp(terminal, "dumb") || !isatty(STDERR_FILENO)) return;
  set_locale();
  const int screen = dup(STDERR_FILENO);
  reader->screen = screen < 0 ? NULL : fdopen(screen, "w");
  if (!reader->screen) return;
  reader->editor = edit->el_init("limn", stdin, reader->screen, reader->screen);
  if (!reader->editor) return;
  reader->edit = edit;
  edit->el_set(reader->editor, EL_CLIENTDATA, reader);
  edit->el_set(reader->editor, EL_EDITOR, "emacs");
  edit->el_set(reader->editor, EL_PROMPT, prompt_of);
  edit->el_set(reader->editor, EL_SIGNAL, 1);
  // Ctrl-C and Ctrl-Z come as keys: a signal may reach another thread than the one that reads.
  edit->el_set(reader->editor, EL_SETTY, "-d", "-isig", NULL);
  edit->el_set(reader->editor, EL_ADDFN, "limn-drop", "Drop the line", drop);
  edit->el_set(reader->editor, EL_ADDFN, "limn-suspend", "Suspend the program", suspend);
  edit->el_set(reader->editor, EL_ADDFN, "limn-paste", "Insert what is pasted", paste);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    edit->el_set(reader->editor, EL_BIND, keys[i][0], keys[i][1], NULL);
  // From the end of the line, for what follows is written below it.
  edit->el_set(reader->editor, EL_BIND, "-s", "^C", "^E^X^C", NULL);
  reader->history = edit->history_init();
  if (!reader->history) return;
  HistEvent event;
  edit->history(reader->history, &event, H_SETSIZE, 1000);
  edit->history(reader->history, &event, H_SETUNIQUE, 1);
  edit->el_set(reader->editor, EL_HIST, edit->history, reader->history);
  if (reader->history_file) edit->history(reader->history, &event, H_LOAD, reader->history_file);
}

limn_reader *limn_reader_open(const char *history) {
  limn_reader *reader = calloc(1, sizeof *reader);
  if (!reader) abort();
  reader->is_terminal = isatty(STDIN_FILENO);
  reader->history_file = history ? strdup(history) : NULL;
  if (reader->is_terminal) open_editor(reader);
  return reader;
}

void limn_reader_close(limn_reader *reader) {
  if (reader->history) reader->edit->history_end(reader->history);
  if (reader->editor) limn_edit()->el_end(reader->editor);
  if (reader->screen) fclose(reader->screen);
  free(reader->history_file);
  free(reader->line);
  free(reader);
}

bool limn_reader_is_terminal(const limn_reader *reader) { return reader->is_terminal; }

void limn_reader_remember(limn_reader *reader, const char *line) {
  if (!reader->history) return;
  HistEvent event;
  reader->edit->history(reader->history, &event, H_ENTER, line);
  // At once, for a session may end in any way. The file is for its owner alone.
  if (reader->history_file) reader->edit->history(reader->history, &event, H_SAVE, reader->history_file);
}

// MARK: Reading

static pthread_t reading_thread;

/// Without an editor Ctrl-C is a signal, which must reach the thread that reads.
static void on_interrupt(int signal) {
  is_dropped = 1;
  if (!pthread_equal(pthread_self(), reading_thread)) pthread_kill(reading_thread, signal);
}

/// A line as the editor gives it; NULL if it was dropped, and at the end.
static const char *edited_line(limn_reader *reader, size_t *count) {
  int edited = 0;
  reader->edit->el_resize(reader->editor);
  fputs("\x1b[?2004h", reader->screen);  // please mark what is pasted
  const char *line = reader->edit->el_gets(reader->editor, &edited);
  fputs("\x1b[?2004l", reader->screen);
  if (!line || edited <= 0) fputc('\n', reader->screen);
  fflush(reader->screen);
  *count = edited > 0 ? (size_t)edited : 0;
  return edited > 0 ? line : NULL;
}

/// A line as the terminal or the pipe gives it.
static const char *plain_line(limn_reader *reader, size_t *count) {
  struct sigaction mine = {.sa_handler = on_interrupt}, old;
  sigemptyset(&mine.sa_mask);
  reading_thread = pthread_self();
  if (reader->is_terminal) {
    sigaction(SIGINT, &mine, &old);
    fputs(reader->prompt, stderr);
  }
  const ptrdiff_t read = getline(&reader->line, &reader->capacity, stdin);
  if (read < 0) clearerr(stdin);
  if (reader->is_terminal) {
    sigaction(SIGINT, &old, NULL);
    if (read < 0) fputc('\n', stderr);
  }
  *count = read < 0 ? 0 : (size_t)read;
  return read < 0 ? NULL : reader->line;
}

limn_read limn_reader_next(limn_reader *reader, const char *prompt, const char **line, size_t *count) {
  reader->prompt = prompt;
  is_dropped = 0;
  *line = reader->edit ? edited_line(reader, count) : plain_line(reader, count);
  if (is_dropped) return LIMN_READ_DROPPED;
  if (!*line) return LIMN_READ_END;
  if (*count > 0 && (*line)[*count - 1] == '\n') --*count;
  return LIMN_READ_LINE;
}
