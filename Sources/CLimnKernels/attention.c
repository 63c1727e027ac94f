// Attention in tiles of 64 positions with a running maximum (online softmax): no [tokens, tokens] matrix.
//
//   for each tile:  s = scale · q·k;  m' = max(m, s);  p = exp(s − m');  f = exp(m − m')
//                   l = l · f + Σ p;  y = y · f + Σ p · v                                 at the end:  y / l
//
// Tiles begin at multiples of 64 from position 0 on. For a query that sees nothing of a tile, the tile changes nothing
// (f = 1, p = 0, exactly), so a query's bits do not depend on the other queries of its block, or of its call.
// The query heads that share a key/value head are further rows of the block: a tile is unpacked once for all.
#include "kernels.h"
#include "simd.h"

#include <float.h>

enum { TILE = 64, PANELS = TILE / LIMN_PANEL_ROWS };

/// The parts of a thread's scratch memory, in floats; `width` is the head size, filled up to whole panels.
typedef struct {
  ptrdiff_t rows, width;
  float *keys;    // [PANELS][head_size][16]
  float *values;  // [width / 16][TILE][16]
  float *q;       // [rows][width + 16], the distance being an odd number of cache lines most of the time
  float *s;       // [rows][TILE]
  float *y;       // [width / 16][rows][16]
  float *m, *l;   // [rows]
} parts;

/// The next `count` floats of the scratch memory, where there is any.
static float *part(float *scratch, size_t *used, ptrdiff_t count) {
  float *place = scratch ? scratch + *used : NULL;
  *used += (size_t)count;
  return place;
}

/// Returns how many bytes it takes; `scratch` is NULL where that is all that is asked for.
static size_t lay_out(const limn_attention_job *j, float *scratch, parts *p) {
  const ptrdiff_t rows = j->block_tokens * (j->heads / j->kv_heads), width = (j->head_size + 15) & ~(ptrdiff_t)15;
  const ptrdiff_t padded_rows = (rows + 15) & ~(ptrdiff_t)15;
  size_t used = 0;
  *p = (parts){.rows = rows, .width = width};
  p->keys = part(scratch, &used, TILE * width);
  p->values = part(scratch, &used, TILE * width);
  p->q = part(scratch, &used, rows * (width + 16));
  p->s = part(scratch, &used, rows * TILE);
  p->y = part(scratch, &used, rows * width);
  p->m = part(scratch, &used, padded_rows);
  p->l = part(scratch, &used, padded_rows);
  return used * sizeof(float);
}

size_t limn_attention_scratch(const limn_attention_job *job) {
  parts p;
  return lay_out(job, NULL, &p);
}

/// One head of one position, as float32.
LIMN_INLINE void load_head_scalar(const void *from, int half, ptrdiff_t count, float *to) {
  if (half)
    for (ptrdiff_t i = 0; i < count; i++) to[i] = float_from_half(load_u16((const char *)from + 2 * i));
  else
    memcpy(to, from, (size_t)count * sizeof(float));
}
LIMN_INLINE void load_head(const void *from, int half, ptrdiff_t count, float *to) {
  ptrdiff_t i = 0;
  if (half)
    for (; i + 16 <= count; i += 16) v_store(to + i, v_load_half((const char *)from + 2 * i));
  load_head_scalar((const char *)from + (half ? 2 : 4) * i, half, count - i, to + i);
}

/// out[column][row]
LIMN_INLINE void transpose_scalar(const float (*rows)[16], ptrdiff_t columns, float *out) {
  for (ptrdiff_t k = 0; k < columns; k++)
    for (ptrdiff_t r = 0; r < 16; r++) out[k * 16 + r] = rows[r][k];
}
LIMN_INLINE void transpose(const float (*rows)[16], ptrdiff_t columns, float *out) {
  if (columns < 16) {
    transpose_scalar(rows, columns, out);
    return;
  }
  v16i r[16];
  LIMN_UNROLL for (int i = 0; i < 16; i++) r[i] = v_load_bytes(rows[i]);
  v_transpose(r);
  LIMN_UNROLL for (int i = 0; i < 16; i++) v_store_bytes(out + i * 16, r[i]);
}

/// Unpacks `count` ≤ TILE positions of a key/value head; the rest of the tile becomes zeros.
typedef void unpack_tile(
  const limn_attention_job *j, const parts *p, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count);

LIMN_INLINE void unpack_with(
  const limn_attention_job *j, const parts *p, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count,
  void (*load)(const void *from, int half, ptrdiff_t count, float *to),
  void (*transpose)(const float (*rows)[16], ptrdiff_t columns, float *out)) {
  const char *keys = (const char *)j->keys + (size_t)kv_head * j->head_bytes;
  const char *values = (const char *)j->values + (size_t)kv_head * j->head_bytes;
  const ptrdiff_t value_bytes = j->half ? 2 : 4;
  for (ptrdiff_t panel = 0; panel < PANELS; panel++)
    for (ptrdiff_t start = 0; start < j->head_size; start += 16) {
      float *out = p->keys + (panel * j->head_size + start) * LIMN_PANEL_ROWS;
      const ptrdiff_t left = j->head_size - start, n = left < 16 ? left : 16;
      _Alignas(64) float rows[LIMN_PANEL_ROWS][16];
      for (ptrdiff_t r = 0; r < LIMN_PANEL_ROWS; r++) {
        const ptrdiff_t i = panel * LIMN_PANEL_ROWS + r;
        if (i < count)
          load(keys + (first + i) * (ptrdiff_t)j->position_bytes + start * value_bytes, j->half, n, rows[r]);
        else
          memset(rows[r], 0, sizeof rows[r]);
      }
      transpose((const float(*)[16])rows, n, out);
    }
  for (ptrdiff_t i = 0; i < TILE; i++)
    for (ptrdiff_t start = 0; start < p->width; start += 16) {
      float *out = p->values + (start / 16 * TILE + i) * 16;
      const ptrdiff_t left = j->head_size - start, n = i >= count ? 0 : left < 16 ? left : 16;
      load(values + (first + i) * (ptrdiff_t)j->position_bytes + start * value_bytes, j->half, n, out);
      for (ptrdiff_t k = n; k < 16; k++) out[k] = 0;
    }
}
static void unpack_tile_scalar(
  const limn_attention_job *j, const parts *p, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count) {
  unpack_with(j, p, kv_head, first, count, load_head_scalar, transpose_scalar);
}
LIMN_INLINE void unpack_tile_body(
  const limn_attention_job *j, const parts *p, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count) {
  unpack_with(j, p, kv_head, first, count, load_head, transpose);
}
LIMN_INSTANCES(
  unpack_tile,
  (const limn_attention_job *j, const parts *p, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count),
  (j, p, kv_head, first, count))

/// Turns a row's scores into weights, in place, of which positions low...high (counted in the tile) are seen; returns
/// the factor that what was summed so far has to be multiplied with.
typedef float soften_row(float *s, float scale, ptrdiff_t low, ptrdiff_t high, float *m, float *l);

static float soften_scalar(float *s, float scale, ptrdiff_t low, ptrdiff_t high, float *m, float *l) {
  float largest = *m, sum = 0;
  for (ptrdiff_t i = 0; i < TILE; i++) {
    s[i] = i >= low && i <= high ? s[i] * scale : -INFINITY;
    if (s[i] > largest) largest = s[i];
  }
  for (ptrdiff_t i = 0; i < TILE; i++) sum += s[i] = expf(s[i] - largest);
  const float factor = expf(*m - largest);
  *l = *l * factor + sum;
  *m = largest;
  return factor;
}
LIMN_INLINE float soften_body(float *s, float scale, ptrdiff_t low, ptrdiff_t high, float *m, float *l) {
  const v16i lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  v16f score[PANELS], largest = v_splat(*m), sum = v_splat(0);
  LIMN_UNROLL for (int i = 0; i < PANELS; i++) {
    const v16i at = lanes + 16 * i;
    score[i] = v_select((at >= (int)low) & (at <= (int)high), v_load(s + 16 * i) * scale, v_splat(-INFINITY));
    largest = v_max(largest, score[i]);
  }
  const float most = v_largest(largest);
  LIMN_UNROLL for (int i = 0; i < PANELS; i++) {
    const v16f p = v_exp(score[i] - most);
    v_store(s + 16 * i, p);
    sum += p;
  }
  const float factor = *m == most ? 1 : v_exp(v_splat(*m - most))[0];
  *l = *l * factor + v_sum(sum);
  *m = most;
  return factor;
}
LIMN_VALUE_INSTANCES(
  float, soften, (float *s, float scale, ptrdiff_t low, ptrdiff_t high, float *m, float *l),
  (s, scale, low, high, m, l))

/// One item: the queries of some tokens and of the heads that share a key/value head. Row r of them is token
/// r / group, head r % group.
static void attend(
  const limn_attention_job *j, const parts *p, ptrdiff_t kv_head, ptrdiff_t first_token, ptrdiff_t tokens,
  unpack_tile *unpack, soften_row *soften) {
  const ptrdiff_t group = j->heads / j->kv_heads, rows = tokens * group, q_width = p->width + 16;
  const ptrdiff_t strips = p->width / 16, first_position = j->first_position + first_token;
  for (ptrdiff_t r = 0; r < rows; r++) {
    const ptrdiff_t head = kv_head * group + r % group;
    const float *q = j->q + ((first_token + r / group) * j->heads + head) * j->head_size;
    memcpy(p->q + r * q_width, q, (size_t)j->head_size * sizeof(float));
    p->m[r] = -FLT_MAX;
    p->l[r] = 0;
  }
  memset(p->y, 0, (size_t)(p->rows * p->width) * sizeof(float));

  const ptrdiff_t end = j->causal ? first_position + tokens : j->positions;
  const ptrdiff_t first_seen = j->causal && j->window ? first_position - j->window + 1 : 0;
  for (ptrdiff_t start = first_seen > 0 ? first_seen / TILE * TILE : 0; start < end; start += TILE) {
    unpack(j, p, kv_head, start, end - start < TILE ? end - start : TILE);
    memset(p->s, 0, (size_t)(rows * TILE) * sizeof(float));
    for (ptrdiff_t row = 0; row < rows; row += LIMN_TILE_TOKENS) {
      const int n = rows - row < LIMN_TILE_TOKENS ? (int)(rows - row) : LIMN_TILE_TOKENS;
      for (ptrdiff_t panel = 0; panel < PANELS; panel++)
        j->multiply(
          p->keys + panel * j->head_size * 16, p->q + row * q_width, (size_t)q_width * sizeof(float), n,
          p->s + row * TILE + panel * 16, TILE, (int)j->head_size);
      for (ptrdiff_t r = row; r < row + n; r++) {
        const ptrdiff_t position = first_position + r / group;
        const ptrdiff_t high = (j->causal ? position : end - 1) - start;
        const ptrdiff_t low = j->causal && j->window ? position - j->window + 1 - start : 0;
        const float factor = soften(
          p->s + r * TILE, j->scale, low < 0 ? 0 : low > TILE ? TILE : low, high < TILE ? high : TILE - 1,
          p->m + r, p->l + r);
        if (factor != 1)
          for (ptrdiff_t strip = 0; strip < strips; strip++) {
            float *y = p->y + (strip * p->rows + r) * 16;
            for (int i = 0; i < 16; i++) y[i] *= factor;
          }
      }
      for (ptrdiff_t strip = 0; strip < strips; strip++)
        j->multiply(
          p->values + strip * TILE * 16, p->s + row * TILE, TILE * sizeof(float), n,
          p->y + (strip * p->rows + row) * 16, 16, TILE);
    }
  }

  for (ptrdiff_t r = 0; r < rows; r++) {
    float *y = j->y + ((first_token + r / group) * j->heads + kv_head * group + r % group) * j->head_size;
    for (ptrdiff_t i = 0; i < j->head_size; i++) y[i] = p->y[(i / 16 * p->rows + r) * 16 + i % 16] / p->l[r];
  }
}

static void attention(
  const limn_attention_job *j, ptrdiff_t begin, ptrdiff_t end, void *scratch, unpack_tile *unpack,
  soften_row *soften) {
  const ptrdiff_t blocks = (j->tokens + j->block_tokens - 1) / j->block_tokens;
  parts p;
  lay_out(j, scratch, &p);
  for (ptrdiff_t item = begin; item < end; item++) {
    // The last blocks see the most positions and go first, so that threads finish together.
    const ptrdiff_t first_token = (blocks - 1 - item / j->kv_heads) * j->block_tokens;
    const ptrdiff_t left = j->tokens - first_token;
    attend(j, &p, item % j->kv_heads, first_token, left < j->block_tokens ? left : j->block_tokens, unpack, soften);
  }
}

/// Keys or values of new tokens go to their places in the cache.
LIMN_INLINE void store_with(
  const limn_store_job *j, ptrdiff_t begin, ptrdiff_t end,
  void (*store_half)(const float *from, ptrdiff_t count, void *to)) {
  for (ptrdiff_t t = begin; t < end; t++)
    for (ptrdiff_t h = 0; h < j->heads; h++) {
      const float *from = j->x + (t * j->heads + h) * j->head_size;
      const ptrdiff_t place = (h * j->capacity + t) * j->head_size;
      if (j->half)
        store_half(from, j->head_size, (char *)j->cache + 2 * place);
      else
        memcpy((float *)j->cache + place, from, (size_t)j->head_size * sizeof(float));
    }
}
LIMN_INLINE void store_half_scalar(const float *from, ptrdiff_t count, void *to) {
  for (ptrdiff_t i = 0; i < count; i++) {
    const uint16_t h = half_from_float(from[i]);
    memcpy((char *)to + 2 * i, &h, 2);
  }
}
LIMN_INLINE void store_half(const float *from, ptrdiff_t count, void *to) {
  ptrdiff_t i = 0;
  for (; i + 16 <= count; i += 16) v_store_half((char *)to + 2 * i, v_load(from + i));
  store_half_scalar(from + i, count - i, (char *)to + 2 * i);
}
static void store_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  store_with(job, begin, end, store_half_scalar);
}
LIMN_INLINE void store_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  store_with(job, begin, end, store_half);
}
LIMN_KERNEL_INSTANCES(store)

#define LIMN_ATTENTION(isa)                                                                              \
  static void attention_##isa(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {          \
    attention(job, begin, end, scratch, unpack_tile_##isa, soften_##isa);                                \
  }
LIMN_ATTENTION(scalar)
#if defined(__x86_64__)
LIMN_ATTENTION(avx2)
LIMN_ATTENTION(avx512)
#elif defined(__aarch64__)
LIMN_ATTENTION(neon)
#endif

void limn_install_attention(limn_kernels *kernels) {
  kernels->store = LIMN_PICK(kernels->isa, store);
  kernels->attention = LIMN_PICK(kernels->isa, attention);
}
