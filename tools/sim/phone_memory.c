/* What a phone remembers: whose LID is whose, letters, sent messages, lists of devices. */
#include "tools/sim/phone.h"

#include <stdio.h>
#include <stdlib.h>

static void put_copy(struct map *m, struct slice key, struct slice value)
{
    char *copy = xcalloc(value.len + 1);

    memcpy(copy, value.data, value.len);
    free(map_put(m, key, copy));
}

void sim_phone_learn(struct sim_phone *p, struct slice number, struct slice lid)
{
    if (number.len == 0 || lid.len == 0) return;
    put_copy(&p->lids, number, lid);
    put_copy(&p->numbers, lid, number);
}

struct wa_address sim_phone_address(struct sim_phone *p, struct arena *arena, struct wa_jid jid)
{
    const char *lid = jid.server == WA_SERVER_USER ? map_find(&p->lids, jid.user) : NULL;
    bool own = slice_is(jid.user, p->account->number) || slice_is(jid.user, p->account->lid);

    if (own && jid.server == WA_SERVER_USER) lid = p->account->lid;
    if (jid.server == WA_SERVER_LID || lid)
        return (struct wa_address){
            .name = lid ? arena_printf(arena, "%s@lid", lid)
                        : arena_printf(arena, SLICE_FMT "@lid", SLICE_ARG(jid.user)),
            .device = jid.device,
            .own = own};
    return (struct wa_address){
        .name = arena_printf(arena, SLICE_FMT "@s.whatsapp.net", SLICE_ARG(jid.user)),
        .device = jid.device,
        .own = own};
}

const char *sim_phone_number(struct sim_phone *p, struct wa_jid jid, char out[SIM_NUMBER_MAX])
{
    const char *number = jid.server == WA_SERVER_LID ? map_find(&p->numbers, jid.user) : NULL;

    if (jid.server == WA_SERVER_LID && slice_is(jid.user, p->account->lid))
        number = p->account->number;
    if (number)
        snprintf(out, SIM_NUMBER_MAX, "%s", number);
    else
        snprintf(out, SIM_NUMBER_MAX, SLICE_FMT, SLICE_ARG(jid.user));
    return out;
}

void sim_letter_free(struct sim_phone *p, struct sim_letter *letter)
{
    struct slice id = slice_text(letter->id);

    if (map_find(&p->letters_by_id, id) == letter) map_remove(&p->letters_by_id, id);
    list_remove(&letter->link);
    p->letter_count--;
    buf_done(&letter->chat);
    buf_done(&letter->text);
    buf_done(&letter->quoted);
    buf_done(&letter->sender);
    free(letter);
}

void sim_sent_free(struct sim_phone *p, struct sim_sent *sent)
{
    struct slice id = slice_text(sent->id);

    if (map_find(&p->sent_by_id, id) == sent) map_remove(&p->sent_by_id, id);
    list_remove(&sent->link);
    p->sent_count--;
    buf_done(&sent->to);
    buf_done(&sent->message);
    free(sent);
}

struct sim_letter *sim_phone_letter(struct sim_phone *p, struct slice id)
{
    return map_find(&p->letters_by_id, id);
}

void sim_phone_index_letter(struct sim_phone *p, struct sim_letter *letter)
{
    map_put(&p->letters_by_id, slice_text(letter->id), letter);
}

struct sim_sent *sim_phone_sent(struct sim_phone *p, struct slice id)
{
    return map_find(&p->sent_by_id, id);
}

void sim_phone_keep_sent(struct sim_phone *p, const char *id, struct slice to, struct slice message)
{
    struct sim_sent *sent = xcalloc(sizeof *sent);

    if (p->sent_count >= SIM_SENT_MAX)
        sim_sent_free(p, LIST_ENTRY(p->sent.next, struct sim_sent, link));
    snprintf(sent->id, sizeof sent->id, "%s", id);
    buf_put(&sent->to, to);
    buf_put(&sent->message, message);
    list_push(&p->sent, &sent->link);
    p->sent_count++;
    map_put(&p->sent_by_id, slice_text(sent->id), sent);
}

static void forget_list(struct sim_phone *p, struct wa_jid person)
{
    char text[WA_JID_TEXT_MAX];
    struct wa_jid bare = wa_jid_bare(&person);

    free(map_remove(&p->device_lists, slice_text(wa_jid_text(&bare, text))));
}

void sim_phone_forget_devices(struct sim_phone *p, struct wa_jid person)
{
    bool lid = wa_jid_is_lid(&person);
    const char *other = map_find(lid ? &p->numbers : &p->lids, person.user);

    forget_list(p, person);
    if (slice_is(person.user, p->account->number) || slice_is(person.user, p->account->lid))
        other = lid ? p->account->number : p->account->lid;
    if (other)
        forget_list(p, wa_jid_of(lid ? WA_SERVER_USER : WA_SERVER_LID, slice_text(other), 0));
}

struct sim_letter *sim_phone_keep(struct sim_phone *p, const struct sim_letter *letter,
                                  struct slice chat, struct slice text)
{
    struct sim_letter *kept = xcalloc(sizeof *kept);

    if (p->letter_count >= SIM_INBOX_MAX)
        sim_letter_free(p, LIST_ENTRY(p->letters.next, struct sim_letter, link));
    *kept = *letter;
    list_push(&p->letters, &kept->link);
    p->letter_count++;
    buf_put(&kept->chat, chat);
    buf_put(&kept->text, text);
    sim_phone_index_letter(p, kept);
    return kept;
}

void sim_phone_new_id(char out[SIM_ID_MAX])
{
    uint8_t random[16];

    crypto_random(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(out + 2 * i, 3, "%02X", random[i]);
}
