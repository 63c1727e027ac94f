// The part of the C library that limn calls, behind one header for every system: plain functions for what Swift cannot
// import (variadic functions, macros) and for what Linux and macOS spell differently.
#ifndef LIMN_SYSTEM_H
#define LIMN_SYSTEM_H

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// MARK: Files

typedef enum { LIMN_FILE_MISSING, LIMN_FILE_PLAIN, LIMN_FILE_FOLDER, LIMN_FILE_PIPE, LIMN_FILE_OTHER } limn_file_kind;

typedef struct {
  limn_file_kind kind;
  int64_t bytes;
} limn_file_status;

/// errno as set by the last call.
int limn_errno(void);
/// strerror, for the current thread.
const char *_Nonnull limn_error_text(int error);
bool limn_is_missing(int error);
bool limn_is_disk_full(int error);

/// Opens a file for reading; −1 with errno on failure. A named pipe does not block the caller.
int limn_open_reading(const char *_Nonnull path);
/// Creates a file for writing, or empties it; −1 with errno on failure.
int limn_open_writing(const char *_Nonnull path);
limn_file_status limn_status_of_path(const char *_Nonnull path);
limn_file_status limn_status_of_file(int file);
/// write, read and mmap under names that no Swift method shadows.
ptrdiff_t limn_write(int file, const void *_Nonnull bytes, size_t count);
ptrdiff_t limn_read(int file, void *_Nonnull bytes, size_t count);
/// The name of the next entry in a folder; NULL at its end.
const char *_Nullable limn_next_name(DIR *_Nonnull folder);
/// The file that holds this code, symbolic links resolved: the program, on macOS also the library or test bundle that limn
/// is part of; NULL where the system does not tell. The caller frees it.
char *_Nullable limn_program_path(void);
/// Bytes that this user may still write to the volume of a path; −1 if the system does not say.
int64_t limn_free_bytes(const char *_Nonnull path);

/// How many files, sockets included, this process may have open at the same time.
int64_t limn_most_open_files(void);

// MARK: Memory

/// Maps a file for reading; NULL with errno on failure.
const void *_Nullable limn_map_file(int file, size_t count);
/// Zeros that the system allocates page by page, when they are first written; NULL if no such range of addresses is
/// free.
void *_Nullable limn_map_zeros(size_t count);
void limn_unmap(const void *_Nonnull start, size_t count);
/// Allows the system to reclaim the whole pages of a mapped file within these bytes.
void limn_release_pages(const void *_Nonnull start, size_t count);
/// Asks for large pages; a system without them ignores this.
void limn_prefer_large_pages(const void *_Nonnull start, size_t count);

// MARK: Processors and threads

/// Marks which of the first `count` processors this process may run on, one byte each. Returns how many those are, or 0
/// if the system does not say.
int limn_allowed_processors(uint8_t *_Nonnull allowed, size_t count);
/// The number of processors that are online.
int limn_processor_count(void);
/// Size of the last-level cache in bytes; 0 if the system does not say.
size_t limn_last_cache_bytes(void);
/// Tells the processor that this thread is spinning.
void limn_pause(void);
/// Starts a thread; false if the system cannot start another.
bool limn_start_thread(
  pthread_t *_Nonnull thread, void *_Nullable (*_Nonnull run)(void *_Nonnull), void *_Nonnull argument);
void limn_join_thread(pthread_t thread);
/// The process's peak resident memory, in bytes.
int64_t limn_peak_memory(void);
/// Physical memory of this machine in bytes; 0 if the system does not say.
int64_t limn_physical_memory(void);

#endif
