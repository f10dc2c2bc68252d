/* BalanceMartingale for states 0..n-1 and round-robin trajectories, for millions of runs.
   benchmarks/statistics/compiled.py checks that it gives the e-values of the library. Loops are distinguished by
   a 64-bit hash; no limits but max_steps, which no run here reaches. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BETTORS 4
static const double SPREADS[BETTORS] = {0.1, 0.3, 1.0, 3.0};

typedef struct { uint64_t key; int32_t count[2]; } Class;
typedef struct { int32_t *walk; int walked, length; uint8_t path[256]; int16_t place[256]; } Path;

static void begin(Path *p, int n, uint8_t state) {
    for (int i = 0; i < n; i++) p->place[i] = -1;
    p->walk[0] = p->path[0] = state;
    p->walked = p->length = 1;
    p->place[state] = 0;
}

static Class *find(Class *table, uint64_t mask, const uint8_t *loop, int length, int *turned) {
    int first = 0;
    for (int i = 1; i < length; i++) if (loop[i] < loop[first]) first = i;
    int after = loop[(first + 1) % length], before = loop[(first + length - 1) % length];
    int step = after < before ? 1 : length - 1;
    uint64_t key = 1469598103934665603ULL;
    for (int i = 0, at = first; i < length; i++, at = (at + step) % length) {
        key = (key ^ (loop[at] + 1)) * 0x9E3779B97F4A7C15ULL;
        key ^= key >> 29;
    }
    *turned = after > before;
    uint64_t slot = key & mask;
    while (table[slot].key && table[slot].key != key) slot = (slot + 1) & mask;
    table[slot].key = key;
    return &table[slot];
}

static double log_mean_exp(const double *x, int n) {
    double top = x[0], sum = 0;
    for (int i = 1; i < n; i++) if (x[i] > top) top = x[i];
    for (int i = 0; i < n; i++) sum += exp(x[i] - top);
    return top + log(sum / n);
}

/* walks: (k, steps + 1). Returns the number of moves at the first alarm, or -1. */
long run(const uint8_t *walks, long k, long steps, int n, double alpha, int stop, double *log_e,
         long *completed) {
    uint64_t mask = (1 << 18) - 1;
    Class *table = calloc(mask + 1, sizeof(Class));
    double *moves = calloc((size_t)n * n, sizeof(double));
    Path *paths = calloc(k, sizeof(Path));
    double kt = 0, wealth[BETTORS] = {0};
    long alarm = -1;
    *log_e = 0, *completed = 0;
    for (long r = 0; r < k; r++) {
        paths[r].walk = malloc((steps + 1) * sizeof(int32_t));
        begin(&paths[r], n, walks[r * (steps + 1)]);
    }
    for (long t = 1; t <= steps && !(stop && alarm >= 0); t++) for (long r = 0; r < k; r++) {
        Path *p = &paths[r];
        uint8_t state = walks[r * (steps + 1) + t];
        if (state == p->walk[p->walked - 1]) continue;
        p->walk[p->walked++] = state;
        int place = p->place[state];
        if (place < 0) {
            p->place[state] = p->length;
            p->path[p->length++] = state;
            continue;
        }
        int length = p->length - place;
        uint8_t *loop = p->path + place;
        if (length < 3) {
            for (int i = place + 1; i < p->length; i++) p->place[p->path[i]] = -1;
            p->length = place + 1;
            continue;
        }
        ++*completed;
        double affinity = 0, variance = 0;
        for (int i = 0; i < length; i++) {
            int f = loop[i], g = loop[(i + 1) % length];
            double there = moves[f * n + g] + 0.5, back = moves[g * n + f] + 0.5;
            affinity += log(there / back);
            variance += 1 / there + 1 / back;
        }
        for (int b = 0; b < BETTORS; b++) {
            double prior = SPREADS[b] * SPREADS[b] * length, kept = prior / (prior + variance);
            double lean = affinity * kept / sqrt(1 + M_PI / 8 * variance * kept);
            wealth[b] += log(2) - (lean > 0 ? log1p(exp(-lean)) : log1p(exp(lean)) - lean);
        }
        int turned;
        Class *c = find(table, mask, loop, length, &turned);
        kt += log(2 * (c->count[turned] + 0.5) / (c->count[0] + c->count[1] + 1));
        c->count[turned]++;
        double both[2] = {kt, log_mean_exp(wealth, BETTORS)};
        *log_e = log_mean_exp(both, 2);
        if (alarm < 0 && *log_e >= -log(alpha)) alarm = (t - 1) * k + r + 1;
        for (int i = 1; i < p->walked; i++) moves[p->walk[i - 1] * n + p->walk[i]]++;
        begin(p, n, state);
    }
    for (long r = 0; r < k; r++) free(paths[r].walk);
    free(paths), free(moves), free(table);
    return alarm;
}

static uint64_t rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

/* xoshiro256+, seeded by the caller with four words that are not all 0 */
static double uniform(uint64_t s[4]) {
    uint64_t sum = s[0] + s[3], t = s[1] << 17;
    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3], s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return (sum >> 11) * 0x1.0p-53;
}

/* cumulative: (n, n) rows that end in 1; walk: (steps + 1), the first state given. */
void draw(const double *cumulative, int n, long steps, uint64_t seed[4], uint8_t *walk) {
    for (long t = 0; t < steps; t++) {
        const double *row = cumulative + walk[t] * n;
        double u = uniform(seed);
        int next = 0;
        while (next < n - 1 && row[next] <= u) next++;
        walk[t + 1] = next;
    }
}
