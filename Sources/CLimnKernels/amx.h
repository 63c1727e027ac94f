// AMX: products of whole tiles, registers of 16 rows by 64 bytes, that Intel's servers and workstations have since
// Sapphire Rapids. One instruction multiplies 16 tokens by 16 weight rows and adds the 256 sums to a tile: 64 columns of
// 8-bit integers, or 32 of bfloat16. A panel is what it reads already: 16 rows × 64 bytes of it are a tile.
#pragma once
#include "kernels.h"
#include "simd.h"

#if defined(__x86_64__)
  #include <immintrin.h>

  #if defined(LIMN_EMULATED)
    #define LIMN_TARGET_AMX LIMN_TARGET_AVX2
  #else
    #define LIMN_TARGET_AMX                                                                                   \
      __attribute__((target(                                                                                  \
        "amx-tile,amx-int8,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,avx2,fma,f16c")))
  #endif

/// Up to two panels meet up to two tiles of tokens: each tile that is loaded takes part in two products. Tiles 0 to 3 hold
/// the sums of panel 0 and its tokens, then panel 1's; 4 and 5 tokens, 6 and 7 weights.
enum { LIMN_AMX_TOKENS = 32, LIMN_AMX_PANELS = 2 };

/// A step of 64 bytes along the columns: `weights` of the first panel, `step` bytes before the second's. `panels` is a
/// constant.
  #define LIMN_AMX_STEP(product, weights, step, panels, x, x_stride, tokens)     do {                                                                           _tile_loadd(6, weights, 64);                                                 if (panels > 1) _tile_loadd(7, (weights) + (step), 64);                      _tile_loadd(4, x, x_stride);                                                 product(0, 4, 6);                                                            if (panels > 1) product(2, 4, 7);                                            if (tokens > 16) {                                                             _tile_loadd(5, (x) + 16 * (x_stride), x_stride);                             product(1, 5, 6);                                                            if (panels > 1) product(3, 5, 7);                                          }                                                                          } while (0)

LIMN_TARGET_AMX LIMN_INLINE void limn_amx_zero(void) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}
/// sums: [panel][32 tokens][16 rows] of 4 bytes
LIMN_TARGET_AMX LIMN_INLINE void limn_amx_store(void *sums, const int panels, int tokens) {
  char *to = sums;
  _tile_stored(0, to, 64);
  if (tokens > 16) _tile_stored(1, to + 1024, 64);
  if (panels > 1) _tile_stored(2, to + 2048, 64);
  if (panels > 1 && tokens > 16) _tile_stored(3, to + 3072, 64);
}
#endif
