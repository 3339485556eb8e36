/* A piece that one room gives and the other keeps (wgpy/crypto/deposit.py, wgpy/red/shelf.py): records KEEP
 * and KEPT, each on a page of its own, the piece behind them, and a disk.
 *
 * The giver puts a piece, says its number and check, and puts no other before the keeper has answered with
 * that number and the giver's life. The keeper copies the piece, and keeps it if it is the one of the check;
 * then it answers. A record and the words of a piece become visible in any order; that a record is heard whole
 * is lane.pml's. Either may be killed and starts again: a
 * giver is another life and its numbers begin anew; a keeper forgets everything but its disk.
 *
 * Checked: what is on the disk was given whole; when the giver takes a piece for kept, it is on the disk,
 * whatever happens to the keeper.
 *
 * -DNO_CHECK: the keeper does not compare the piece. -DNO_LIFE: the giver takes an answer to a life before
 * for one to itself. -DEARLY: the keeper answers before it has kept. -DNO_WAIT: the giver takes
 * a piece for kept without an answer. Each must be
 * found wrong. */
#ifndef KILLS
#define KILLS 1
#endif
#define PIECES 3   /* that a life gives; a piece has two words, each its value */

byte k_life, k_number, k_check;     /* the record KEEP */
byte page[2];                       /* the piece behind it */
byte a_life, a_number;              /* the record KEPT */
byte disk[2];
byte life = 1, kills, value;        /* value: of the piece that is given */
bool done = false;

#define MAY_DIE if :: kills < KILLS -> kills++; goto dead :: skip fi

active proctype giver()
{
    byte number, words;
start:
    number = 0;
next:
    if :: number == PIECES -> goto end :: else fi;
    number++;
    value++;
    words = 0;
    do
    :: words == 7 -> break
    :: !(words & 1) -> page[0] = value; words = words | 1; MAY_DIE
    :: !(words & 2) -> page[1] = value; words = words | 2; MAY_DIE
    :: atomic { !(words & 4) -> k_life = life; k_number = number; k_check = value; words = words | 4 }; MAY_DIE
    od;
#if defined NO_LIFE
    a_number == number;
#elif !defined NO_WAIT
    a_number == number && a_life == life;
#endif
    assert(disk[0] == value && disk[1] == value);
    MAY_DIE;
    goto next;
dead:
    atomic { life++; k_life = 0; k_number = 0; k_check = 0 };
    goto start;
end:
    a_number == PIECES && a_life == life;
    assert(disk[0] == value && disk[1] == value);
    done = true
}

active proctype keeper()
{
    byte n, l, c, last_l, last_n, copy[2];
start:
    last_l = 0; last_n = 0;
look:
    do
    :: done -> goto end
    :: atomic { k_number != 0 && (k_life != last_l || k_number != last_n) -> l = k_life; n = k_number; c = k_check }; break
    od;
    copy[0] = page[0];
    copy[1] = page[1];
#ifndef NO_CHECK
    if :: copy[0] == c && copy[1] == c :: else -> goto look fi;
#endif
#ifdef EARLY
    atomic { a_life = l; a_number = n };
    MAY_DIE;
#endif
    atomic { disk[0] = copy[0]; disk[1] = copy[1] };
    assert(copy[0] == copy[1]);
    last_l = l; last_n = n;
    MAY_DIE;
    atomic { a_life = l; a_number = n };
    MAY_DIE;
    goto look;
dead:
    goto start;
end:
    skip
}
