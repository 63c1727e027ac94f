// Keys and values: writing them to a cache, and unpacking them into panels.
//
// A tile of positions becomes panels that `limn_multiply` reads: keys as [panel of positions][column][16], values as
// [strip of 16 columns][position][16]. In bfloat16, pairs of columns (keys) or positions (values) are adjacent.
#include "kv.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { TILE = LIMN_ATTENTION_TILE, PANEL = LIMN_PANEL_ROWS };

// MARK: The scalar reference

LIMN_INLINE void unpack_tile_with_scalars(
  const limn_attention_job *j, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count, void *keys, void *values,
  const int bfloat16) {
  const ptrdiff_t width = limn_attention_width(j);
  for (ptrdiff_t i = 0; i < TILE; i++) {
    const size_t place = (size_t)kv_head * j->head_bytes + (size_t)(first + i) * j->position_bytes;
    for (ptrdiff_t k = 0; k < width; k++) {
      const int there = i < count && k < j->head_size;
      const float key = there ? limn_kv_value((const char *)j->keys + place, j->type, k) : 0;
      const float value = there ? limn_kv_value((const char *)j->values + place, j->type, k) : 0;
      const ptrdiff_t key_panel = i / PANEL * width * PANEL, strip = k / 16 * TILE * 16;
      if (bfloat16) {
        ((uint16_t *)keys)[key_panel + (k / 2 * PANEL + i % PANEL) * 2 + k % 2] = bfloat_from_float(key);
        ((uint16_t *)values)[strip + (i / 2 * 16 + k % 16) * 2 + i % 2] = bfloat_from_float(value);
      } else {
        ((float *)keys)[key_panel + k * PANEL + i % PANEL] = key;
        ((float *)values)[strip + i * 16 + k % 16] = value;
      }
    }
  }
}
static void unpack_tile_scalar(
  const limn_attention_job *j, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count, void *keys, void *values) {
  unpack_tile_with_scalars(j, kv_head, first, count, keys, values, 0);
}
static void unpack_tile_bfloat16_scalar(
  const limn_attention_job *j, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count, void *keys, void *values) {
  unpack_tile_with_scalars(j, kv_head, first, count, keys, values, 1);
}

/// A block of zeros, for values that cannot be divided by their largest magnitude.
LIMN_INLINE void store_q8_zeros(float largest, char *block) {
  const uint16_t d = half_from_float(largest * 0);
  memcpy(block, &d, 2);
  memset(block + 2, 0, LIMN_Q8_VALUES);
}
/// Scales the largest magnitude to 127. If a value is not finite, the scale is NaN.
static void store_q8_scalar(const float *x, ptrdiff_t count, char *block) {
  const float largest = largest_magnitude(x, count);
  if (!is_scalable(largest)) {
    store_q8_zeros(largest, block);
    return;
  }
  const float inverse = 127 / largest;
  const uint16_t d = half_from_float(largest / 127);
  memcpy(block, &d, 2);
  for (ptrdiff_t i = 0; i < LIMN_Q8_VALUES; i++) block[2 + i] = i < count ? (char)(int8_t)rintf(x[i] * inverse) : 0;
}
static void store_head_scalar(const float *x, ptrdiff_t count, limn_type type, char *to) {
  if (type == LIMN_Q8_0)
    for (ptrdiff_t i = 0; i < count; i += LIMN_Q8_VALUES, to += LIMN_Q8_0_BYTES)
      store_q8_scalar(x + i, count - i < LIMN_Q8_VALUES ? count - i : LIMN_Q8_VALUES, to);
  else if (type == LIMN_F16)
    for (ptrdiff_t i = 0; i < count; i++) {
      const uint16_t h = half_from_float(x[i]);
      memcpy(to + 2 * i, &h, 2);
    }
  else
    memcpy(to, x, (size_t)count * sizeof(float));
}

// MARK: Vectors

/// Rounds two vectors to bfloat16 and joins them; NULL where panels are float32.
typedef v16i pair_of(v16f low, v16f high);

/// Unpacks the keys of 16 positions, from `head` on; only `left` of them exist.
LIMN_INLINE void unpack_keys(
  const limn_attention_job *j, const limn_type type, const char *head, ptrdiff_t left, v16i *out, pair_of *pair) {
  const ptrdiff_t step = pair ? 32 : 16;
  for (ptrdiff_t i = 0; i < PANEL && i < left; i++) limn_kv_fetch(j, head + (size_t)i * j->position_bytes);
  for (ptrdiff_t k = 0; k < j->head_size; k += step, out += 16) {
    v16i r[PANEL];
    const ptrdiff_t n = j->head_size - k;
    if (n >= step && left >= PANEL) {
      LIMN_UNROLL (int i = 0; i < PANEL; i++) {
        const char *row = head + (size_t)i * j->position_bytes;
        const v16f low = limn_kv_load(row, type, k, 16);
        r[i] = pair ? pair(low, limn_kv_load(row, type, k + 16, 16)) : (v16i)low;
      }
    } else {
      for (ptrdiff_t i = 0; i < PANEL; i++) {
        const char *row = head + (size_t)i * j->position_bytes;
        const v16f low = i < left ? limn_kv_load(row, type, k, n < 16 ? n : 16) : v_splat(0);
        const int has_high = i < left && pair && n > 16;
        const v16f high = has_high ? limn_kv_load(row, type, k + 16, n < 32 ? n - 16 : 16) : v_splat(0);
        r[i] = pair ? pair(low, high) : (v16i)low;
      }
    }
    v_transpose(r);
    LIMN_UNROLL (int i = 0; i < 16; i++) out[i] = r[i];
  }
}

/// Unpacks the values of a tile, of which `left` positions exist.
LIMN_INLINE void unpack_values(
  const limn_attention_job *j, const limn_type type, const char *head, ptrdiff_t left, v16i *out, pair_of *pair) {
  const ptrdiff_t step = pair ? 2 : 1, strip = TILE / step, size = j->head_size;
  for (ptrdiff_t i = 0; i < TILE; i += step, out++, head += (size_t)step * j->position_bytes) {
    if (i + step <= left)
      for (ptrdiff_t p = 0; p < step; p++) limn_kv_fetch(j, head + (size_t)p * j->position_bytes);
    for (ptrdiff_t k = 0; k < size; k += 16) {
      const ptrdiff_t n = size - k < 16 ? size - k : 16;
      const v16f low = i < left ? limn_kv_load(head, type, k, n) : v_splat(0);
      const v16f high = pair && i + 1 < left ? limn_kv_load(head + j->position_bytes, type, k, n) : v_splat(0);
      out[k / 16 * strip] = pair ? pair(low, high) : (v16i)low;
    }
  }
}

LIMN_INLINE void unpack_tile_of(
  const limn_attention_job *j, const limn_type type, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count, void *keys,
  void *values, pair_of *halves, pair_of *lanes) {
  const ptrdiff_t width = limn_attention_width(j), panel = width / (halves ? 2 : 1);
  const size_t place = (size_t)kv_head * j->head_bytes + (size_t)first * j->position_bytes;
  for (ptrdiff_t i = 0; i < TILE; i += PANEL)
    unpack_keys(
      j, type, (const char *)j->keys + place + (size_t)i * j->position_bytes, count - i,
      (v16i *)keys + i / PANEL * panel, halves);
  unpack_values(j, type, (const char *)j->values + place, count, values, lanes);
}
/// A separate loop for every type.
LIMN_INLINE void unpack_tile_any(
  const limn_attention_job *j, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count, void *keys, void *values,
  pair_of *halves, pair_of *lanes) {
  if (j->type == LIMN_F16)
    unpack_tile_of(j, LIMN_F16, kv_head, first, count, keys, values, halves, lanes);
  else if (j->type == LIMN_Q8_0)
    unpack_tile_of(j, LIMN_Q8_0, kv_head, first, count, keys, values, halves, lanes);
  else
    unpack_tile_of(j, LIMN_F32, kv_head, first, count, keys, values, halves, lanes);
}
LIMN_INLINE void unpack_tile_body(
  const limn_attention_job *j, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count, void *keys, void *values) {
  unpack_tile_any(j, kv_head, first, count, keys, values, 0, 0);
}
LIMN_INSTANCES(
  unpack_tile,
  (const limn_attention_job *j, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count, void *keys, void *values),
  (j, kv_head, first, count, keys, values))

LIMN_INLINE void store_q8(const float *x, ptrdiff_t count, char *block) {
  if (count < LIMN_Q8_VALUES) {
    store_q8_scalar(x, count, block);
    return;
  }
  const v16f low = v_load(x), high = v_load(x + 16);
  const float largest = v_largest_magnitude(__builtin_elementwise_max(v_magnitude(low), v_magnitude(high)));
  if (!is_scalable(largest)) {
    store_q8_zeros(largest, block);
    return;
  }
  const float inverse = 127 / largest;
  const uint16_t d = half_from_float(largest / 127);
  memcpy(block, &d, 2);
  typedef int8_t v16b __attribute__((vector_size(16)));
  const v16b a = __builtin_convertvector(
    __builtin_convertvector(__builtin_elementwise_roundeven(low * inverse), v16i), v16b);
  const v16b b = __builtin_convertvector(
    __builtin_convertvector(__builtin_elementwise_roundeven(high * inverse), v16i), v16b);
  memcpy(block + 2, &a, 16);
  memcpy(block + 18, &b, 16);
}
LIMN_INLINE void store_head(const float *x, ptrdiff_t count, limn_type type, char *to) {
  ptrdiff_t i = 0;
  if (type == LIMN_Q8_0) {
    for (; i < count; i += LIMN_Q8_VALUES, to += LIMN_Q8_0_BYTES)
      store_q8(x + i, count - i < LIMN_Q8_VALUES ? count - i : LIMN_Q8_VALUES, to);
    return;
  }
  if (type == LIMN_F16)
    for (; i + 16 <= count; i += 16) v_store_half(to + 2 * i, v_load(x + i));
  store_head_scalar(x + i, count - i, type, to + (type == LIMN_F16 ? 2 : 4) * i);
}

#if defined(__x86_64__)
// MARK: AVX-512 BF16

LIMN_TARGET_BF16 LIMN_INLINE v16i pair_halves(v16f low, v16f high) {
  return (v16i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}
/// The low value of each lane, with the high one beside it.
LIMN_TARGET_BF16 LIMN_INLINE v16i pair_lanes(v16f low, v16f high) {
  const v16i halves = pair_halves(low, high);
  v16i place;
  LIMN_UNROLL (int i = 0; i < 16; i++) place[i] = (16 + i) << 16 | i;
  return (v16i)_mm512_permutexvar_epi16((__m512i)place, (__m512i)halves);
}
LIMN_TARGET_BF16 static void unpack_tile_bfloat16_avx512(
  const limn_attention_job *j, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count, void *keys, void *values) {
  unpack_tile_any(j, kv_head, first, count, keys, values, pair_halves, pair_lanes);
}
#endif

// MARK: Storing

LIMN_INLINE void store_with(
  const limn_store_job *j, ptrdiff_t begin, ptrdiff_t end,
  void (*store_head)(const float *x, ptrdiff_t count, limn_type type, char *to)) {
  for (ptrdiff_t t = begin; t < end; t++)
    for (ptrdiff_t h = 0; h < j->heads; h++)
      store_head(
        j->x + (t * j->heads + h) * j->head_size, j->head_size, j->type,
        (char *)j->cache + (size_t)h * j->head_bytes + (size_t)t * j->position_bytes);
}
static void store_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  store_with(job, begin, end, store_head_scalar);
}
LIMN_INLINE void store_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  store_with(job, begin, end, store_head);
}
LIMN_KERNEL_INSTANCES(store)

void limn_install_kv(limn_kernels *kernels) {
  kernels->store = LIMN_PICK(kernels->isa, store);
  kernels->unpack_float32 = LIMN_PICK(kernels->isa, unpack_tile);
  if (kernels->isa == LIMN_SCALAR) kernels->unpack_bfloat16 = unpack_tile_bfloat16_scalar;
#if defined(__x86_64__)
  if (kernels->isa == LIMN_AVX512 && limn_has_amx()) kernels->unpack_bfloat16 = unpack_tile_bfloat16_avx512;
#endif
}
