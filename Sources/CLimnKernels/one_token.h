// One token times weight rows, for decoding: rows are read one after another, as they lie in memory, and nothing is
// transposed but the sums. What comes out has the bits of the panels' products: integers are exact in any order, and
// the floats of a row are added block by block in ascending order there and here.
#pragma once
#include "kernels.h"
#include "simd.h"

#if defined(__x86_64__)
  #include <immintrin.h>

enum { LIMN_FETCH_AHEAD = 2048 };  // bytes between what is computed and what is fetched

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

/// y[r] = Σ over blocks, in ascending order, of d · dx · total − dmin · dx · low.
LIMN_TARGET_VNNI LIMN_INLINE void finish_one_k(
  const limn_one_k *one, const limn_x_k *x, ptrdiff_t blocks, int rows, float *y) {
  __m512 sum = _mm512_setzero_ps();
  for (ptrdiff_t first = 0; first < blocks; first += 16) {
    v16i total[16], low[16], d[16];
    LIMN_UNROLL for (int r = 0; r < 16; r++) {
      const ptrdiff_t at = r * one->wide + first;
      total[r] = (v16i)_mm512_loadu_si512(one->total + at);
      low[r] = (v16i)_mm512_loadu_si512(one->low + at);
      d[r] = (v16i)_mm512_loadu_si512(one->d + at);
    }
    v_transpose(total);
    v_transpose(low);
    v_transpose(d);
    const int count = blocks - first < 16 ? (int)(blocks - first) : 16;
    for (int i = 0; i < count; i++) {
      const __m512 dx = _mm512_set1_ps(x[first + i].d);
      const __m512i halves = (__m512i)d[i];
      const __m512 dw = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(halves));
      const __m512 dmin = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(halves, 16)));
      sum = _mm512_fmadd_ps(_mm512_mul_ps(dw, dx), _mm512_cvtepi32_ps((__m512i)total[i]), sum);
      sum = _mm512_fnmadd_ps(_mm512_mul_ps(dmin, dx), _mm512_cvtepi32_ps((__m512i)low[i]), sum);
    }
  }
  _mm512_mask_storeu_ps(y, (__mmask16)((1u << rows) - 1), sum);
}
#endif
