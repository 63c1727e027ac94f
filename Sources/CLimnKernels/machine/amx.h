// AMX (Intel's servers and workstations since Sapphire Rapids) multiplies tiles: registers of 16 rows by 64 bytes. One
// instruction multiplies 16 tokens by 16 weight rows, over 64 columns of 8-bit integers or 32 of bfloat16, and adds the
// 256 sums to a tile. It reads panels as they are, since 64 bytes of each of their 16 rows are a tile.
#pragma once
#include "kernels.h"
#include "simd.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(LIMN_EMULATED)
#define LIMN_TARGET_AMX LIMN_TARGET_AVX2
#else
#define LIMN_TARGET_AMX \
  __attribute__((       \
    target("amx-tile,amx-int8,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,avx2,fma,f16c")))
#endif

// Tiles 0 and 1 hold the sums of up to 32 tokens, 2 and 3 the tokens, 4 the weights. With more tokens weights would be
// loaded less often, and with two panels tokens would, but less of it would fit L1: both were slower.

LIMN_TARGET_AMX LIMN_INLINE void limn_amx_zero(void) {
  _tile_zero(0);
  _tile_zero(1);
}

/// One step of 64 bytes along the columns; `product` is the instruction.
#define LIMN_AMX_STEP(product, weights, x, x_stride, tokens) \
  do {                                                       \
    _tile_loadd(4, weights, 64);                             \
    _tile_loadd(2, x, x_stride);                             \
    product(0, 2, 4);                                        \
    if (tokens > 16) {                                       \
      _tile_loadd(3, (x) + 16 * (x_stride), x_stride);       \
      product(1, 3, 4);                                      \
    }                                                        \
  } while (0)

/// sums: [32 tokens][16 rows], 4 bytes each
LIMN_TARGET_AMX LIMN_INLINE void limn_amx_store(void *sums, int tokens) {
  _tile_stored(0, sums, 64);
  if (tokens > 16) _tile_stored(1, (char *)sums + 1024, 64);
}
#endif
