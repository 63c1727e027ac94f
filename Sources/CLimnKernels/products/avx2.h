// What unpacking for AVX2, and its integer products, share.
//
// u8 · s8 pairs are 16-bit sums of at most 2 · 127 · largest q. As many of them as 16 bits hold are added up before they
// are widened: 8 for numbers of 4 bits, 4 for 5 bits, 1 for q up to 128.
#pragma once
#include "simd.h"

#if defined(__x86_64__)
#include <immintrin.h>

/// 32 bytes of each of 8 rows as 8 vectors of words, a row in each lane. The generic 16 rows of 64 bytes need twice the
/// registers that there are.
LIMN_TARGET_AVX2 LIMN_INLINE void limn_words_avx2(const uint8_t *const row[8], size_t offset, __m256i words[8]) {
  __m256i a[8], b[8];
  LIMN_UNROLL (int i = 0; i < 8; i++) a[i] = _mm256_loadu_si256((const __m256i *)(row[i] + offset));
  LIMN_UNROLL (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_epi32(a[i], a[i + 1]);
  }
  LIMN_UNROLL (int i = 0; i < 8; i += 4)
    LIMN_UNROLL (int k = 0; k < 2; k++) {
      a[i + 2 * k] = _mm256_unpacklo_epi64(b[i + k], b[i + k + 2]);
      a[i + 2 * k + 1] = _mm256_unpackhi_epi64(b[i + k], b[i + k + 2]);
    }
  LIMN_UNROLL (int i = 0; i < 4; i++) {
    words[i] = _mm256_permute2x128_si256(a[i], a[i + 4], 0x20);
    words[i + 4] = _mm256_permute2x128_si256(a[i], a[i + 4], 0x31);
  }
}

LIMN_TARGET_AVX2 LIMN_INLINE void limn_store_avx2(void *to, __m256i v) { _mm256_storeu_si256((__m256i *)to, v); }

/// A short loop whose speed depends on where the linker puts it (3%) begins at a line.
#define LIMN_ALIGNED_LOOP [[clang::code_align(64)]]

enum { LIMN_AVX2_TOKENS = 6 };  // as many as 16 registers have room for

/// How many of them, for q ≤ largest_q.
LIMN_INLINE int limn_steps_avx2(int largest_q) { return INT16_MAX / (2 * 127 * largest_q); }

/// Four bytes of token c in every lane. `x3` is token 3's place, which the compiler must not know to be that: six addresses
/// of two registers take no instructions, and it would add up one after another.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i limn_token_avx2(const char *x, const char *x3, size_t x_stride, const int c) {
  int32_t four;
  memcpy(&four, c < 3 ? x + c * x_stride : x3 + (c - 3) * x_stride, 4);
  return _mm256_set1_epi32(four);
}
LIMN_TARGET_AVX2 LIMN_INLINE const char *limn_token_3_avx2(const char *x, size_t x_stride) {
  const char *x3 = x + 3 * x_stride;
  __asm__("" : "+r"(x3));
  return x3;
}

// What keeps a compiler from ordering and adding up as it likes, which costs it more registers than there are.

/// `v`, in a register from here on and of unknown origin.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i limn_kept_avx2(__m256i v) {
  __asm__ volatile("" : "+x"(v));
  return v;
}

/// Loads stay before or behind this.
LIMN_INLINE void limn_in_order(void) { __asm__ volatile("" ::: "memory"); }

/// Vectors whose address it is are in memory, and leave the registers to others.
LIMN_INLINE void limn_in_memory(void *vectors) { __asm__ volatile("" ::"r"(vectors) : "memory"); }

/// Scales of 8 rows, to multiply both sums of a row with.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i limn_scale_words_avx2(const int32_t *scales) {
  const __m256i wide = _mm256_loadu_si256((const __m256i *)scales);
  return _mm256_blend_epi16(wide, _mm256_slli_epi32(wide, 16), 0xaa);
}

/// A new sum, or what is added to one: `steps` steps of four columns each, one after another, of 8 rows, or 16 in two
/// vectors (`q` of the first step, panels of 16 rows), and C tokens.
LIMN_TARGET_AVX2 LIMN_INLINE void limn_steps_of_avx2(
  const __m256i *q, const char *x, size_t x_stride, __m256i sum[2][LIMN_AVX2_TOKENS], const int adding, const int steps,
  const int vectors, const int C) {
  const char *x3 = limn_token_3_avx2(x, x_stride);
  LIMN_UNROLL (int k = 0; k < steps; k++) {
    __m256i w[2];
    LIMN_UNROLL (int v = 0; v < vectors; v++) w[v] = limn_kept_avx2(_mm256_loadu_si256(q + 2 * k + v));
    LIMN_UNROLL (int c = 0; c < C; c++) {
      const __m256i xq = limn_token_avx2(x + 4 * k, x3 + 4 * k, x_stride, c);
      LIMN_UNROLL (int v = 0; v < vectors; v++) {
        const __m256i pairs = _mm256_maddubs_epi16(w[v], xq);
        sum[v][c] = limn_kept_avx2(k == 0 && !adding ? pairs : _mm256_add_epi16(sum[v][c], pairs));
      }
    }
    limn_in_order();
  }
}

/// acc += d · dx · sum for 16 rows and C tokens; `dx` is the first token's.
LIMN_TARGET_AVX2 LIMN_INLINE void limn_add_scaled_avx2(
  const __m256i sum[2][LIMN_AVX2_TOKENS], const float *d, const float *dx, size_t x_stride, float *acc,
  size_t acc_stride, const int C) {
  LIMN_UNROLL (int c = 0; c < C; c++) {
    const __m256 token = _mm256_set1_ps(*(const float *)((const char *)dx + c * x_stride));
    LIMN_UNROLL (int v = 0; v < 2; v++) {
      float *at = acc + c * acc_stride + v * 8;
      const __m256 scale = _mm256_mul_ps(_mm256_loadu_ps(d + v * 8), token);
      _mm256_storeu_ps(at, _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(sum[v][c]), _mm256_loadu_ps(at)));
    }
  }
}
#endif
