// Shared by unpacking and integer products on AVX2.
//
// AVX2 multiplies unsigned by signed bytes and adds neighbouring products to 16-bit sums, of at most 2 · 127 ·
// largest_q. As many of these as fit 16 bits are added before they are widened to 32 bits: 8 for q of 4 bits, 4 for 5
// bits, 2 for 6 bits, 1 for q up to 128.
#pragma once
#include "simd.h"

#if defined(__x86_64__)
#include <immintrin.h>

/// 32 bytes of each of 8 rows as 8 vectors of 32-bit words, one row per lane. (The generic transposition, 16 rows of 64
/// bytes, needs twice as many registers as AVX2 has.)
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

/// Aligns a short loop to a cache line: where the linker happens to put it is worth 3%.
#define LIMN_ALIGNED_LOOP [[clang::code_align(64)]]

enum { LIMN_AVX2_TOKENS = 6 };  // the most for which 16 registers have room

/// The number of 16-bit sums that may be added before widening, for q ≤ largest_q.
LIMN_INLINE int limn_steps_avx2(int largest_q) { return INT16_MAX / (2 * 127 * largest_q); }

/// Four bytes of token c in every lane. `x3` is the address of token 3, hidden from the compiler by limn_token_3_avx2:
/// six tokens are then reached from two registers by addressing modes alone, where the compiler would compute one
/// address after another.
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

// These keep the compiler from reordering and reassociating, which would cost more registers than there are.

/// `v`, in a register from here on, and opaque to the compiler.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i limn_kept_avx2(__m256i v) {
  __asm__ volatile("" : "+x"(v));
  return v;
}

/// Loads are not moved across this: without it, the compiler computes one token after another, each a chain of products
/// that wait for one another.
LIMN_INLINE void limn_in_order(void) { __asm__ volatile("" ::: "memory"); }

/// Forces the vectors at this address into memory, which frees their registers.
LIMN_INLINE void limn_in_memory(void *vectors) { __asm__ volatile("" ::"r"(vectors) : "memory"); }

/// The scales of 8 rows, each in both halves of its lane, to multiply both 16-bit sums of the row.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i limn_scale_words_avx2(const int32_t *scales) {
  const __m256i wide = _mm256_loadu_si256((const __m256i *)scales);
  return _mm256_blend_epi16(wide, _mm256_slli_epi32(wide, 16), 0xaa);
}

/// Computes 16-bit sums for C tokens and 8 or 16 rows (1 or 2 vectors): `steps` steps of four columns each. They are
/// added to `sum` if `adding`, else replace it. `q` points to the first step in a panel of 16 rows.
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

/// acc += d · dx · sum for 16 rows and C tokens; `dx` points to the first token's scale.
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
