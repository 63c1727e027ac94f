// How the keys or values of one position and head lie in a cache, and how they are read.
//
//   F32, F16   head_size values
//   Q8_0       blocks of 32 values as in formats/q8_0.c; the last one is filled up with zeros, so any head size will do
#pragma once
#include "kernels.h"
#include "simd.h"

enum { LIMN_Q8_VALUES = 32 };

/// One value; for the scalar references.
LIMN_INLINE float limn_kv_value(const char *head, const limn_type type, ptrdiff_t column) {
  if (type == LIMN_F16) return float_from_half(load_u16(head + 2 * column));
  if (type == LIMN_Q8_0) {
    const char *block = head + column / LIMN_Q8_VALUES * LIMN_Q8_0_BYTES;
    return (float)(int8_t)block[2 + column % LIMN_Q8_VALUES] * float_from_half(load_u16(block));
  }
  float value;
  memcpy(&value, head + 4 * column, 4);
  return value;
}

/// 16 values from `column` on. Reads only `count` of them, except for Q8_0, whose blocks are complete.
LIMN_INLINE v16f limn_kv_load(const char *head, const limn_type type, ptrdiff_t column, ptrdiff_t count) {
  if (type == LIMN_Q8_0) {
    const char *block = head + column / LIMN_Q8_VALUES * LIMN_Q8_0_BYTES;
    _Float16 d;
    memcpy(&d, block, 2);
    const v16b_unaligned q = *(const v16b_unaligned *)(block + 2 + column % LIMN_Q8_VALUES);
    return __builtin_convertvector(q, v16f) * (float)d;
  }
  const ptrdiff_t size = type == LIMN_F16 ? 2 : 4;
  const char *from = head + column * size;
  char part[64] = {0};
  if (count < 16) {
    memcpy(part, from, (size_t)(count * size));
    from = part;
  }
  return type == LIMN_F16 ? v_load_half(from) : v_load((const float *)from);
}

/// Prefetches the position one tile ahead into L2. Waiting for memory would take longer than the computation, and in a
/// vision tower positions are pages apart, where the hardware prefetcher does not follow.
LIMN_INLINE void limn_kv_fetch(const limn_attention_job *j, const char *head) {
  const char *later = head + LIMN_ATTENTION_TILE * j->position_bytes;
  const size_t bytes = j->type == LIMN_Q8_0 ? j->position_bytes : (size_t)j->head_size * (j->type == LIMN_F16 ? 2 : 4);
  for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(later + at, 0, 2);
}
