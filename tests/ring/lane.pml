/* A control lane (wgpy/ring/lane.py): one place, one writer that may be killed and starts
 * again, one reader that looks now and then.
 *
 * A record is a life and a sequence, a count of what happened, and a check over them. These
 * three words become visible in any order, and the reader copies them in any order. The reader takes what
 * checks and is not older than what the same life said.
 *
 * Checked: nothing is taken that was never said; within a life nothing older is taken after
 * something newer; when all is at rest the reader has seen the last record of the last life,
 * and has acted at least once since the last thing that happened.
 *
 * -DNO_CHECK, -DNO_LIFE, -DEVENT and -DNO_LIFE_NEWS each leave out one rule; each must be
 * found wrong. NO_LIFE: lives are not told apart, so a writer's second life looks old. EVENT:
 * the record says that something has just happened, and not how often. NO_LIFE_NEWS: a new
 * life is no news of its own, so that what happened while nobody wrote is missed. */
#ifndef KILLS
#define KILLS 1
#endif
#ifndef HAPPENINGS
#define HAPPENINGS 2
#endif

#define SAYS(life, sequence, count) (1 + (life) * 36 + (sequence) * 6 + (count))

byte m_life, m_sequence, m_count;   /* the place */
byte m_check;

byte life = 1, kills, happened;
byte last_sequence, last_count;     /* of the present life, as far as it was written whole */
bool said[200];                     /* every record that was ever meant */
bool writing = true;
byte acted_at;                      /* what had happened when the reader last acted */

#define MAY_DIE if :: kills < KILLS -> kills++; goto dead :: skip fi

active proctype writer()
{
    byte sequence, count, seen, words;
start:
    sequence = 0;
    count = 0;
    seen = happened;                /* it sees what happens while it lives, and no more */
    goto say;
loop:
    if
    :: happened != seen ->
        seen = happened;
#ifdef EVENT
        count = 1;
#else
        count++;
#endif
        goto say
    :: happened == HAPPENINGS && seen == happened -> goto done
    fi;
say:
    sequence++;
    said[SAYS(life, sequence, count)] = true;
    words = 0;
    do
    :: words == 7 -> break
    :: atomic { !(words & 1) -> m_life = life; m_sequence = sequence; words = words | 1 }; MAY_DIE
    :: atomic { !(words & 2) -> m_count = count; words = words | 2 }; MAY_DIE
    :: atomic { !(words & 4) -> m_check = SAYS(life, sequence, count); words = words | 4 }; MAY_DIE
    od;
    atomic { last_sequence = sequence; last_count = count; words = 0 };
    goto loop;
dead:
    life++;
    goto start;
done:
    writing = false
}

active proctype world()
{
    do
    :: happened < HAPPENINGS -> happened++
    :: else -> break
    od
}

active proctype reader()
{
    byte r_life, r_sequence, r_count, words, k_life, k_sequence, k_count;
    byte r_check;
    bool last = false, known = false;
    do
    :: last -> break
    :: else ->
        d_step {
            last = !writing && happened == HAPPENINGS;  /* one look more after all is at rest */
            words = 0; r_life = 0; r_sequence = 0; r_count = 0; r_check = 0
        };
        do
        :: words == 7 -> break
        :: atomic { !(words & 1) -> r_life = m_life; r_sequence = m_sequence; words = words | 1 }
        :: atomic { !(words & 2) -> r_count = m_count; words = words | 2 }
        :: atomic { !(words & 4) -> r_check = m_check; words = words | 4 }
        od;
        atomic {
        if
#ifndef NO_CHECK
        :: r_check != SAYS(r_life, r_sequence, r_count) -> skip
#else
        :: r_check == 0 -> skip
#endif
#ifdef NO_LIFE
        :: else -> if :: known && r_sequence <= k_sequence -> skip :: else -> goto take fi
#else
        :: else -> if :: known && r_life == k_life && r_sequence <= k_sequence -> skip :: else -> goto take fi
#endif
        fi;
        goto next;
take:
        assert(said[SAYS(r_life, r_sequence, r_count)]);
        assert(!known || r_life >= k_life);
        if
#ifdef NO_LIFE_NEWS
        :: !known || r_count > k_count -> acted_at = happened
#else
        :: !known || r_life != k_life || r_count != k_count -> acted_at = happened
#endif
        :: else
        fi;
        known = true;
        k_life = r_life;
        k_sequence = r_sequence;
        k_count = r_count;
next:
        skip
        }
    od;
    assert(known && k_life == life && k_sequence == last_sequence && k_count == last_count);
    assert(acted_at == HAPPENINGS)
}
