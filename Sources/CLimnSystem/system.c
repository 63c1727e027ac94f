#if defined(__linux__)
  #define _GNU_SOURCE
#endif
#include "limn_system.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#if defined(__x86_64__)
  #include <immintrin.h>
#endif

// MARK: Files

int limn_errno(void) { return errno; }
bool limn_is_missing(int error) { return error == ENOENT || error == ENOTDIR; }
bool limn_is_disk_full(int error) { return error == ENOSPC || error == EDQUOT; }

const char *limn_error_text(int error) {
  static _Thread_local char text[256];
#if defined(__GLIBC__)
  return strerror_r(error, text, sizeof text);  // GNU's version returns the text
#else
  return strerror_r(error, text, sizeof text) == 0 ? text : "unknown error";
#endif
}

int limn_open_reading(const char *path) { return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); }
int limn_open_writing(const char *path) { return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644); }

static limn_file_status status_from(const struct stat *status) {
  const mode_t mode = status->st_mode;
  const limn_file_kind kind = S_ISREG(mode)    ? LIMN_FILE_PLAIN
                              : S_ISDIR(mode)  ? LIMN_FILE_FOLDER
                              : S_ISFIFO(mode) ? LIMN_FILE_PIPE
                                               : LIMN_FILE_OTHER;
  return (limn_file_status){kind, status->st_size};
}

limn_file_status limn_status_of_path(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 ? status_from(&status) : (limn_file_status){LIMN_FILE_MISSING, 0};
}

limn_file_status limn_status_of_file(int file) {
  struct stat status;
  return fstat(file, &status) == 0 ? status_from(&status) : (limn_file_status){LIMN_FILE_MISSING, 0};
}

ptrdiff_t limn_write(int file, const void *bytes, size_t count) { return write(file, bytes, count); }
ptrdiff_t limn_read(int file, void *bytes, size_t count) { return read(file, bytes, count); }

const char *limn_next_name(DIR *folder) {
  const struct dirent *entry = readdir(folder);
  return entry ? entry->d_name : NULL;
}

char *limn_program_path(void) {
#if defined(__linux__)
  return realpath("/proc/self/exe", NULL);
#else
  Dl_info image;
  return dladdr((const void *)&limn_program_path, &image) ? realpath(image.dli_fname, NULL) : NULL;
#endif
}

int64_t limn_free_bytes(const char *path) {
  struct statvfs status;
  if (statvfs(path, &status) != 0) return -1;
  int64_t bytes;
  return __builtin_mul_overflow((int64_t)status.f_bavail, (int64_t)status.f_frsize, &bytes) ? INT64_MAX : bytes;
}

// MARK: Memory

const void *limn_map_file(int file, size_t count) {
  void *start = mmap(NULL, count, PROT_READ, MAP_PRIVATE, file, 0);
  if (start == MAP_FAILED) return NULL;
  limn_prefer_large_pages(start, count);
  return start;
}

void *limn_map_zeros(size_t count) {
  void *start = mmap(NULL, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return NULL;
#if defined(MADV_NOHUGEPAGE)
  // A system set to prefer large pages would allocate all of a sparse range at its first use.
  madvise(start, count, MADV_NOHUGEPAGE);
#endif
  return start;
}

void limn_unmap(const void *start, size_t count) { munmap((void *)start, count); }

void limn_release_pages(const void *start, size_t count) {
  const uintptr_t page = (uintptr_t)getpagesize();
  const uintptr_t first = ((uintptr_t)start + page - 1) / page * page, last = ((uintptr_t)start + count) / page * page;
  if (first < last) madvise((void *)first, last - first, MADV_DONTNEED);
}

void limn_prefer_large_pages(const void *start, size_t count) {
#if defined(MADV_HUGEPAGE)
  if (count >= 2 << 20) madvise((void *)start, count, MADV_HUGEPAGE);
#endif
}

// MARK: Processors and threads

int limn_allowed_processors(uint8_t *allowed, size_t count) {
  int found = 0;
  for (size_t i = 0; i < count; i++) allowed[i] = 0;
#if defined(__linux__)
  // The kernel refuses sets smaller than its own.
  cpu_set_t *set = CPU_ALLOC(count);
  if (!set) return 0;
  if (sched_getaffinity(0, CPU_ALLOC_SIZE(count), set) == 0)
    for (size_t i = 0; i < count; i++)
      if (CPU_ISSET_S(i, CPU_ALLOC_SIZE(count), set)) allowed[i] = 1, found++;
  CPU_FREE(set);
#endif
  return found;
}

int limn_processor_count(void) {
  const long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 ? (int)count : 1;
}

size_t limn_last_cache_bytes(void) {
#if defined(_SC_LEVEL3_CACHE_SIZE)
  const long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return bytes > 0 ? (size_t)bytes : 0;
#else
  return 0;
#endif
}

void limn_pause(void) {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

bool limn_start_thread(pthread_t *thread, void *(*run)(void *), void *argument) {
  return pthread_create(thread, NULL, run, argument) == 0;
}

void limn_join_thread(pthread_t thread) { pthread_join(thread, NULL); }

int64_t limn_most_open_files(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 1 << 20) return 1 << 20;
  return (int64_t)limit.rlim_cur;
}

int64_t limn_peak_memory(void) {
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#if defined(__APPLE__)
  return usage.ru_maxrss;
#else
  return (int64_t)usage.ru_maxrss * 1024;
#endif
}

int64_t limn_physical_memory(void) {
#if defined(_SC_PHYS_PAGES)
  return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
#else
  return 0;
#endif
}
