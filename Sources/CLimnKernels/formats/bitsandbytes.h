// Shared by the two files on bitsandbytes' formats.
#pragma once
#include "kernels.h"
#include "simd.h"

typedef struct {
  float d;
  uint8_t q[32];
} limn_block_4bit;
_Static_assert(sizeof(limn_block_4bit) == LIMN_NF4_BYTES && LIMN_NF4_BYTES == LIMN_FP4_BYTES, "NF4 or FP4 block");

typedef struct {
  float d;
  int8_t q[64];
} limn_block_int8;
_Static_assert(sizeof(limn_block_int8) == LIMN_LLM_INT8_BYTES, "LLM.int8 block");

/// x rounded to a type: F32, F16 or BF16.
LIMN_INLINE float limn_rounded(float x, const limn_type as) {
  if (as == LIMN_F16) return float_from_half(half_from_float(x));
  if (as == LIMN_BF16) return float_from_bfloat(bfloat_from_float(x));
  return x;
}

/// Multiplies in the library's order, for the same bits.
LIMN_INLINE float limn_int8_value(int8_t q, float d) { return (float)q * d * 7.874015718698502e-3f; }
