/* A small account to play with: messages arrive as the server stores them. */
#pragma once
#include "fixture.h"
#include "storage/chats.h"
#include "storage/messages.h"
#include "storage/search.h"
#include "storage/seen.h"

/* One account with its pending batches, as turn.c has it: turns read what is not durable yet. */
struct world {
    struct fixture f;
    struct scope scope;
    struct list pending;
    struct batch batch; /* of the turn that is open */
    uint64_t secrets;
};

static inline void world_turn(struct world *w)
{
    CHECK_OK(view_begin(w->f.view));
    view_overlay(w->f.view, &w->pending);
}

static inline void world_init(struct world *w)
{
    *w = (struct world){.scope = {1, 7}};
    fixture_init(&w->f);
    list_init(&w->pending);
    batch_init(&w->batch);
    list_push(&w->pending, &w->batch.pending);
    world_turn(w);
}

/* Commits the open turn and opens the next. */
static inline void world_commit(struct world *w)
{
    view_end(w->f.view);
    fixture_commit(&w->f, &w->batch);
    world_turn(w);
}

static inline void world_done(struct world *w)
{
    view_end(w->f.view);
    batch_done(&w->batch);
    fixture_done(&w->f);
}

static inline uint32_t world_peer(struct world *w, const char *address)
{
    struct contact_ref ref;
    CHECK_OK(db_contact_open(&w->batch, w->f.view, w->scope, CONTACT_PERSON, slice_text(address),
                             ++w->secrets, 1000, &ref));
    return ref.peer;
}

/* The words of a text, as terms; no folding. */
static inline size_t world_words(const char *text, struct slice out[64])
{
    struct slice rest = slice_text(text), word;
    size_t n = 0;
    while (n < 64 && slice_split(&rest, ' ', &word))
        if (word.len) out[n++] = word;
    if (n < 64 && rest.len && n == 0) out[n++] = rest;
    return n;
}

/* A message from the peer; its place. */
static inline struct place world_message(struct world *w, uint32_t peer, uint32_t sec,
                                         const char *text)
{
    struct slice words[64];
    struct db_chat chat;
    char stanza[32];

    CHECK_OK(db_chat_find(w->f.view, w->scope, peer, &chat));
    if (chat.next_seq == 0) chat.next_seq = 1;
    struct place p = {peer, sec, chat.next_seq++, ++w->secrets};
    snprintf(stanza, sizeof(stanza), "3EB0%llX", (unsigned long long)p.secret);
    struct db_message m = {.place = p,
                           .stanza_id = slice_text(stanza),
                           .author = SLICE("1@lid"),
                           .author_peer = peer,
                           .text = slice_text(text)};
    chat.last = p;
    chat.deleted = false;
    chat.unread_count++;
    if (sec > chat.activity_sec) chat.activity_sec = sec;
    db_message_put(&w->batch, w->scope, &m);
    CHECK_OK(db_seen_put(&w->batch, w->f.view, w->scope, peer, m.author, m.stanza_id, p));
    db_chat_put(&w->batch, w->scope, &chat);
    struct terms terms = {words, world_words(text, words)};
    CHECK_OK(db_tail_add(&w->batch, w->f.view, w->scope, p, &terms));
    return p;
}
