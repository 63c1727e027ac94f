// One token times weight rows, for decoding: rows are read one after another, as they lie in memory, and nothing is
// transposed but the sums. What comes out has the bits of the panels' products: integers are exact in any order, and
// the floats of a row are added block by block in ascending order there and here.
#pragma once
#include "kernels.h"
#include "simd.h"

#if defined(__x86_64__)
  #include <immintrin.h>

enum { LIMN_FETCH_AHEAD = 4096 };  // bytes between what is computed and what is fetched

/// The lanes of each of 16 vectors, added up.
LIMN_TARGET_VNNI LIMN_INLINE __m512i sum_lanes(const __m512i v[16]) {
  __m512i a[8], b[4], c[2];
  LIMN_UNROLL for (int i = 0; i < 8; i++)
    a[i] = _mm512_add_epi32(
      _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
  LIMN_UNROLL for (int i = 0; i < 4; i++)
    b[i] = _mm512_add_epi32(
      _mm512_unpacklo_epi64(a[2 * i], a[2 * i + 1]), _mm512_unpackhi_epi64(a[2 * i], a[2 * i + 1]));
  LIMN_UNROLL for (int i = 0; i < 2; i++)
    c[i] = _mm512_add_epi32(
      _mm512_shuffle_i32x4(b[2 * i], b[2 * i + 1], 0x88), _mm512_shuffle_i32x4(b[2 * i], b[2 * i + 1], 0xdd));
  return _mm512_add_epi32(_mm512_shuffle_i32x4(c[0], c[1], 0x88), _mm512_shuffle_i32x4(c[0], c[1], 0xdd));
}

/// The lanes of each quarter of 4 vectors, added up: quarter q of vector i goes to lane 4i + q.
LIMN_TARGET_VNNI LIMN_INLINE __m512i sum_quarters(const __m512i v[4]) {
  const __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  const __m512i c = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), c);
}

LIMN_TARGET_VNNI LIMN_INLINE void fetch(const void *at, int bytes) {
  LIMN_UNROLL for (int i = 0; i < bytes; i += 64)
    _mm_prefetch((const char *)at + LIMN_FETCH_AHEAD + i, _MM_HINT_T0);
}

/// What 16 rows' blocks come to before floats are added, for the K formats: [row][block], `wide` blocks apart.
typedef struct {
  ptrdiff_t wide;
  int32_t *total;  // Σ scale · Σ q · x
  int32_t *low;    // Σ min · Σ x
  int32_t *d;      // the halves d, and dmin above it
} limn_one_k;

/// Takes 192 bytes for each block, their number rounded up to whole 16s.
LIMN_INLINE limn_one_k one_k(void *scratch, ptrdiff_t columns) {
  const ptrdiff_t wide = (columns / LIMN_BLOCK + 15) & ~15;
  int32_t *all = scratch;
  return (limn_one_k){wide, all, all + 16 * wide, all + 32 * wide};
}

LIMN_INLINE void v_load_columns(const int32_t *rows, ptrdiff_t wide, v16i columns[16]) {
  LIMN_UNROLL for (int r = 0; r < 16; r++) columns[r] = v_load_bytes(rows + r * wide);
  v_transpose(columns);
}

/// y[r] = Σ over blocks, in ascending order, of d · dx · total − dmin · dx · low.
LIMN_INLINE void finish_one_k(const limn_one_k *one, const limn_x_k *x, ptrdiff_t blocks, int rows, float *y) {
  v16f sum = v_splat(0);
  for (ptrdiff_t first = 0; first < blocks; first += 16) {
    v16i total[16], low[16], d[16];
    v_load_columns(one->total + first, one->wide, total);
    v_load_columns(one->low + first, one->wide, low);
    v_load_columns(one->d + first, one->wide, d);
    const int count = blocks - first < 16 ? (int)(blocks - first) : 16;
    for (int i = 0; i < count; i++) {
      const v16f dx = v_splat(x[first + i].d);
      const v16f dw = v_float_from_half(d[i] & 0xffff), dmin = v_float_from_half(d[i] >> 16 & 0xffff);
      sum = v_fma(dw * dx, __builtin_convertvector(total[i], v16f), sum);
      sum = v_fma(-(dmin * dx), __builtin_convertvector(low[i], v16f), sum);
    }
  }
  v_store_part(y, sum, rows);
}

// MARK: AVX2

/// The lanes of each of 8 vectors, added up.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i sum_lanes_avx2(const __m256i v[8]) {
  __m256i a[4], b[2];
  LIMN_UNROLL for (int i = 0; i < 4; i++) a[i] = _mm256_hadd_epi32(v[2 * i], v[2 * i + 1]);
  LIMN_UNROLL for (int i = 0; i < 2; i++) b[i] = _mm256_hadd_epi32(a[2 * i], a[2 * i + 1]);
  return _mm256_add_epi32(_mm256_permute2x128_si256(b[0], b[1], 0x20), _mm256_permute2x128_si256(b[0], b[1], 0x31));
}

LIMN_TARGET_AVX2 LIMN_INLINE void fetch_avx2(const void *at, int bytes) {
  LIMN_UNROLL for (int i = 0; i < bytes; i += 64) _mm_prefetch((const char *)at + LIMN_FETCH_AHEAD + i, _MM_HINT_T0);
}

/// Lanes that add up to what a block comes to.
typedef struct {
  __m256i total, low;
  uint32_t d;  // as in limn_one_k
} limn_dots_k;

/// `dots` are those of a format's blocks of `block_bytes`.
LIMN_TARGET_AVX2 LIMN_INLINE void multiply_one_k_avx2(
  const void *weight, size_t row_bytes, ptrdiff_t rows, ptrdiff_t columns, const void *prepared, float *y, void *scratch,
  const size_t block_bytes, limn_dots_k (*dots)(const void *block, const limn_x_k *x)) {
  const limn_x_k *x = prepared;
  const ptrdiff_t blocks = columns / LIMN_BLOCK;
  const limn_one_k one = one_k(scratch, columns);
  for (ptrdiff_t first = 0; first < rows; first += 16) {
    const int count = rows - first < 16 ? (int)(rows - first) : 16;
    for (int r = 0; r < count; r++) {
      const char *b = (const char *)weight + (size_t)(first + r) * row_bytes;
      for (ptrdiff_t start = 0; start < blocks; start += 8) {
        __m256i total[8], low[8];
        const ptrdiff_t place = r * one.wide + start;
        const int part = blocks - start < 8 ? (int)(blocks - start) : 8;
        LIMN_UNROLL for (int i = 0; i < 8; i++) total[i] = low[i] = _mm256_setzero_si256();
        for (int i = 0; i < part; i++, b += block_bytes) {
          fetch_avx2(b, (int)block_bytes);
          const limn_dots_k found = dots(b, x + start + i);
          total[i] = found.total;
          low[i] = found.low;
          one.d[place + i] = (int32_t)found.d;
        }
        _mm256_storeu_si256((__m256i *)(one.total + place), sum_lanes_avx2(total));
        _mm256_storeu_si256((__m256i *)(one.low + place), sum_lanes_avx2(low));
      }
    }
    finish_one_k(&one, x, blocks, count, y + first);
  }
}

/// An instance of it.
#define LIMN_ONE_K_AVX2(block, dots)                                                                               \
  LIMN_TARGET_AVX2 static void multiply_one_avx2(                                                                  \
    const void *weight, size_t row_bytes, ptrdiff_t rows, ptrdiff_t columns, const void *x, float *y, void *scratch) { \
    multiply_one_k_avx2(weight, row_bytes, rows, columns, x, y, scratch, sizeof(block), dots);                     \
  }

/// 16 signed bytes as words: those of even places in the lower half, of odd ones in the upper.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i even_odd_avx2(__m128i numbers) {
  return _mm256_cvtepi8_epi16(
    _mm_shuffle_epi8(numbers, _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15)));
}

/// In each half, word g in all places.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i spread_avx2(__m256i numbers, const int g) {
  return _mm256_shuffle_epi8(numbers, _mm256_set1_epi16((int16_t)(2 * g | (2 * g + 1) << 8)));
}
#endif
