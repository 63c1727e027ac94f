// Getting AMX's registers from the operating system, and setting them up.
#define _GNU_SOURCE  // for syscall
#include "amx.h"

#if defined(__x86_64__) && defined(__linux__) && !defined(LIMN_EMULATED)
#include <sys/syscall.h>
#include <unistd.h>

/// Tiles add 8 KB to what the system saves of a thread, so a process must ask for them, once for all its threads.
int limn_amx_allowed(void) {
  enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };  // for arch_prctl
  return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#else
int limn_amx_allowed(void) { return 0; }
#endif

#if defined(__x86_64__)
/// Configures all eight tiles as 16 rows of 64 bytes.
LIMN_TARGET_AMX void limn_amx_begin(void) {
  static const struct {
    uint8_t palette, start_row, unused[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } whole = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
  };
  _Static_assert(sizeof whole == 64, "what LDTILECFG reads");
  _tile_loadconfig(&whole);
}
LIMN_TARGET_AMX void limn_amx_end(void) { _tile_release(); }
#else
void limn_amx_begin(void) {}
void limn_amx_end(void) {}
#endif
