/* What every stream was given, held against what the writer said it gave each event. What is
 * promised stands in streams.c. */
#include "tests/flow/streams.h"

const struct event_filter key_filters[KEY_FILTERS] = {
    {.kinds = 1ull << EVENT_MESSAGE_READ},
    {.account = 2, .peer = 1},
};

static bool wanted_by(const struct session *s, const struct truth *t)
{
    struct event_head head = {.account = t->account, .peer = t->peer, .type = t->type};
    bool wanted = false;

    if (!s->all_worlds && s->sandbox != (t->world != 0)) return false;
    for (size_t i = 0; i < s->filter_count; i++)
        wanted |= event_filter_matches(&s->filters[i], &head);
    for (size_t i = 0; s->follows_key && i < KEY_FILTERS; i++)
        wanted |= event_filter_matches(&key_filters[i], &head);
    return wanted;
}

static unsigned complain(size_t stream, size_t session, uint64_t seq, const char *what)
{
    static unsigned said;
    if (said++ < 20)
        printf("stream %zu, session %zu, seq %lu: %s\n", stream, session, (unsigned long)seq, what);
    return 1;
}

/* The events between two items, and the item itself. */
static unsigned judge_item(size_t n, size_t k, const struct session *s, uint64_t *at,
                           const struct item *item)
{
    unsigned wrong = 0;

    if (item->seq <= *at) return complain(n, k, item->seq, "is not above the one before");
    if (item->seq > house.last) return complain(n, k, item->seq, "was never written");
    for (uint64_t seq = *at + 1; seq < item->seq; seq++)
        if (house.truth[seq].known && wanted_by(s, &house.truth[seq]))
            wrong += complain(n, k, seq, "is missing, no gap was announced");
    *at = item->last ? item->last : item->seq;
    if (item->last) {
        if (item->last > house.trimmed) wrong += complain(n, k, item->last, "was not trimmed");
        return wrong;
    }
    const struct truth *t = &house.truth[item->seq];
    if (!t->known || t->account != item->account || t->n != item->n)
        wrong += complain(n, k, item->seq, "is another event than the one written");
    else if (!wanted_by(s, t))
        wrong += complain(n, k, item->seq, "was not asked for");
    return wrong;
}

static unsigned judge_session(size_t n, size_t k, const struct stream *st)
{
    const struct session *s = &st->sessions[k];
    uint64_t at = s->after;
    unsigned wrong = 0;

    for (size_t i = s->first; i < s->end; i++)
        wrong += judge_item(n, k, s, &at, &st->items[i]);
    if (k + 1 < st->session_count)
        return at == st->sessions[k + 1].after ? wrong
                                               : wrong + complain(n, k, at, "resumed elsewhere");
    for (uint64_t seq = at + 1; seq <= house.last; seq++)
        if (house.truth[seq].known && wanted_by(s, &house.truth[seq]))
            wrong += complain(n, k, seq, "is missing at the end");
    return wrong;
}

static unsigned judge_log(void)
{
    uint32_t n[ACCOUNTS + 1] = {0};
    unsigned wrong = 0;

    if (house.failed) wrong += complain(0, 0, 0, "a batch failed");
    if (house.leaked) wrong += complain(0, 0, 0, "another tenant was shown an event");
    if (house.doubled) wrong += complain(0, 0, 0, "a number was given twice");
    for (uint64_t seq = 1; seq <= house.last; seq++) {
        const struct truth *t = &house.truth[seq];
        if (!t->known)
            wrong += complain(0, 0, seq, "was never given to an event");
        else if (t->n != ++n[t->account])
            wrong += complain(0, 0, seq, "is out of its account's order");
    }
    return wrong;
}

static unsigned judge_chances(void)
{
    unsigned wrong = 0;

#define CHANCE(name)                                                                               \
    printf(" " #name " %lu", (unsigned long)house.chances.name);                                   \
    wrong += house.chances.name == 0;
    CHANCES(CHANCE)
#undef CHANCE
    printf("\n");
    if (wrong) printf("%u kinds of misfortune never happened: the run proves nothing\n", wrong);
    return wrong;
}

unsigned judge(void)
{
    unsigned wrong = judge_log();
    size_t sessions = 0, items = 0;

    for (size_t i = 0; i < STREAMS; i++) {
        const struct stream *s = &house.streams[i];
        if (s->wrong) wrong += complain(i, 0, 0, s->wrong);
        for (size_t k = 0; k < s->session_count; k++)
            wrong += judge_session(i, k, s);
        sessions += s->session_count;
        items += s->item_count;
    }
    printf("%lu events, %lu trimmed; %d streams, %zu sessions, %zu items:",
           (unsigned long)house.last, (unsigned long)house.trimmed, STREAMS, sessions, items);
    return wrong + judge_chances();
}
