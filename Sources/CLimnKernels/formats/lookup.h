// For formats whose 4-bit numbers are places in a table of 16 signed bytes. Panels are limn_panel_32 with value + 128.
#pragma once
#include "kernels.h"
#include "simd.h"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { LOOKUP_OFFSET = 128 };

/// The table of IQ4_NL and IQ4_XS.
extern const int8_t limn_table_iq4[16];

/// Replaces each byte, a number below 16, by table[number] + 128.
typedef v16i v_lookup(v16i numbers, const int8_t table[16]);

#if defined(__x86_64__)
LIMN_TARGET_AVX2 LIMN_INLINE v16i v_lookup_avx2(v16i numbers, const int8_t table[16]) {
  const __m128i values = _mm_xor_si128(_mm_loadu_si128((const __m128i *)table), _mm_set1_epi8((char)0x80));
  const __m256i twice = _mm256_broadcastsi128_si256(values);
  __m256i halves[2];
  memcpy(halves, &numbers, sizeof halves);
  LIMN_UNROLL (int i = 0; i < 2; i++) halves[i] = _mm256_shuffle_epi8(twice, halves[i]);
  memcpy(&numbers, halves, sizeof halves);
  return numbers;
}
LIMN_TARGET_AVX512 LIMN_INLINE v16i v_lookup_avx512(v16i numbers, const int8_t table[16]) {
  const __m128i values = _mm_xor_si128(_mm_loadu_si128((const __m128i *)table), _mm_set1_epi8((char)0x80));
  return (v16i)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), (__m512i)numbers);
}
#elif defined(__aarch64__)
LIMN_INLINE v16i v_lookup_neon(v16i numbers, const int8_t table[16]) {
  const uint8x16_t values = veorq_u8(vreinterpretq_u8_s8(vld1q_s8(table)), vdupq_n_u8(0x80));
  uint8x16_t quarters[4];
  memcpy(quarters, &numbers, sizeof quarters);
  LIMN_UNROLL (int i = 0; i < 4; i++) quarters[i] = vqtbl1q_u8(values, quarters[i]);
  memcpy(&numbers, quarters, sizeof quarters);
  return numbers;
}
#endif

/// Writes a group of 32, of which byte i holds number i (low nibble) and number i + 16 (high).
LIMN_INLINE void v_store_lookups(
  const v16i words[4], const int8_t table[16], v_lookup *lookup, uint8_t (*q)[LIMN_PANEL_ROWS][4]) {
  LIMN_UNROLL (int k = 0; k < 8; k++) v_store_bytes(q[k], lookup(words[k % 4] >> k / 4 * 4 & 0x0f0f0f0f, table));
}

#define LIMN_UNPACK_PARAMETERS \
  (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel)
#if defined(__x86_64__)
#define LIMN_LOOKUP_INSTANCES                                                      \
  LIMN_TARGET_AVX2 static void unpack_avx2 LIMN_UNPACK_PARAMETERS {                \
    unpack_body(recipe, weight, row_bytes, rows, columns, panel, v_lookup_avx2);   \
  }                                                                                \
  LIMN_TARGET_AVX512 static void unpack_avx512 LIMN_UNPACK_PARAMETERS {            \
    unpack_body(recipe, weight, row_bytes, rows, columns, panel, v_lookup_avx512); \
  }
#elif defined(__aarch64__)
#define LIMN_LOOKUP_INSTANCES                                                    \
  static void unpack_neon LIMN_UNPACK_PARAMETERS {                               \
    unpack_body(recipe, weight, row_bytes, rows, columns, panel, v_lookup_neon); \
  }
#else
#define LIMN_LOOKUP_INSTANCES
#endif
