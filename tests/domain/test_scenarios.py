"""Days at a lender, as tables that a banker can read. Amounts in kobo; the language is in `tests.domain.banker`."""

from tests.domain.banker import Bank

WALLETS = """
    account   side    limit  floor
    bank      debit
    income    credit
    wallet    credit  -      0
"""


def test_a_payout_is_held_captured_in_parts_and_the_rest_is_released() -> None:
    bank = Bank(WALLETS).run("""
        Mon 09:00  topup    bank -> wallet 5000             => posted 5000
            09:01  payout   hold wallet -> bank 3000        => held 3000
            09:02  second   hold wallet -> bank 2500        => insufficient_funds available=2000 requested=2500
            09:10  part1    capture payout 1000             => posted 1000
            09:11  part2    capture payout 1200             => posted 1200
            09:12  toomuch  capture payout 801              => exceeds_hold remaining=800 requested=801
    """)
    bank.shows("""
        account  balance  debits_pending  credits_pending  available
        wallet   2800     800             0                2000
        bank     2800     0               800              -
    """)
    bank.run("""
        Mon 09:20  part3    capture payout 300 final        => posted 300
            09:21  part4    capture payout 1                => hold_captured captured=2500
            09:22  undo     void payout                     => hold_captured captured=2500
    """)
    bank.shows("""
        account  balance  debits_pending  available
        wallet   2500     0               2500
        bank     2500     0               -
    """)
    assert bank.events()[1:] == ["HoldPlaced", "HoldCaptured", "HoldCaptured", "HoldCaptured"]


def test_a_payout_that_the_rail_refused_is_voided_and_the_money_is_there_again() -> None:
    Bank(WALLETS).run("""
        Mon 09:00  topup    bank -> wallet 5000             => posted 5000
            09:01  payout   hold wallet -> bank 5000        => held 5000
            09:02  fee      wallet -> income 1              => insufficient_funds available=0 requested=1
            09:30  failed   void payout                     => voided 5000
            09:31  failed   void payout                     => voided 5000 again
            09:32  twice    void payout                     => hold_voided
            09:33  late     capture payout                  => hold_voided
            09:34  fee2     wallet -> income 1              => posted 1
    """).shows("""
        account  balance  debits_pending
        wallet   4999     0
        income   1        0
    """)


def test_a_voided_hold_gives_back_only_what_was_not_captured() -> None:
    Bank(WALLETS).run("""
        Mon 09:00  topup    bank -> wallet 1000             => posted 1000
            09:01  payout   hold wallet -> bank 900         => held 900
            09:02  part     capture payout 400              => posted 400
            09:03  rest     void payout                     => voided 500
    """).shows("""
        account  balance  debits_pending
        wallet   600      0
    """)


def test_what_was_captured_too_late_is_refused_by_name_and_forced_above_the_limit() -> None:
    bank = Bank("""
        account   side    limit
        card      debit   1000
        merchant  credit
    """)
    bank.run("""
        Mon 09:00  auth     hold card -> merchant 600 for 2h   => held 600
            09:05  other    card -> merchant 500               => limit_exceeded headroom=400 requested=500
            10:59           time passes                        => expired
            11:00           time passes                        => expired auth
            11:01  other2   card -> merchant 500               => posted 500
            11:02  late     capture auth 600                   => hold_expired
            11:03  forced   force auth 550                     => posted 550
            11:04  forced2  force auth 51                      => exceeds_hold remaining=50 requested=51
            11:05  forced3  force auth                         => posted 50
            11:06  forced4  force auth 1                       => hold_captured captured=600
            11:07  more     card -> merchant 1                 => limit_exceeded headroom=0 requested=1
    """)
    bank.shows("""
        account   balance  debits_pending  headroom
        card      1100     0               0
        merchant  1100     0               -
    """)
    assert bank.events()[:2] == ["HoldPlaced", "HoldExpired"]
    assert bank.book.drafts[-1].data.reason == "late_file"  # type: ignore[union-attr] # a movement's


def test_a_hold_expires_to_the_second_and_only_with_what_was_left() -> None:
    Bank(WALLETS).run("""
        Mon 09:00  topup    bank -> wallet 1000             => posted 1000
            09:00  payout   hold wallet -> bank 900 for 1d  => held 900
        Mon 15:00  part     capture payout 400              => posted 400
        Tue 08:59  part2    capture payout 100              => posted 100
        Tue 09:00           time passes                     => expired payout
    """).shows("""
        account  balance  debits_pending
        wallet   500      0
        bank     500      0
    """)


def test_a_top_up_smaller_than_the_debt_pays_the_fee_first_then_the_principal() -> None:
    bank = Bank("""
        account    side    floor
        bank       debit
        income     credit
        wallet     credit  0
        fee        debit
        principal  debit
        funding    debit
    """)
    bank.run("""
        Mon 09:00  lend     principal -> funding 10000                 => posted 10000
            09:00  charge   fee -> income 1500                         => posted 1500
        Tue 09:00  topup    bank -> wallet 4000                        => posted 4000
            09:00  take1    wallet -> fee up to 1500 by both &         => posted 1500
                   take2    wallet -> principal up to 10000 by both    => posted 2500
    """)
    bank.shows("""
        account    balance
        wallet     0
        fee        0
        principal  7500
    """)
    bank.run("""
        Wed 09:00  again1   wallet -> principal up to 7500 by both     => nothing_available available=0 requested=7500
        Wed 10:00  topup2   bank -> wallet 9000                        => posted 9000
            10:00  take3    wallet -> fee up to 1500 by both &         => nothing_available
                   take4    wallet -> principal up to 7500 by both     => linked_failed
            10:01  take5    wallet -> principal up to 99999 by both    => posted 7500
            10:01  take5    wallet -> principal up to 99999 by both    => posted 7500 again
    """)
    bank.shows("""
        account    balance
        wallet     1500
        principal  0
    """)


def test_an_exchange_is_two_linked_transfers_through_liquidity_accounts() -> None:
    bank = Bank("""
        account  side    floor  currency
        naira    credit  0      NGN
        dollars  credit  0      USD
        poolngn  credit  -      NGN
        poolusd  credit  0      USD
        vault    debit   -      NGN
        vaultusd debit   -      USD
    """)
    bank.run("""
        Mon 09:00  in1      vault -> naira 1600000              => posted 1600000
            09:00  in2      vaultusd -> poolusd 900 USD         => posted 900
            09:05  sell     naira -> poolngn 1600000 &          => linked_failed
                   buy      poolusd -> dollars 1000 USD         => insufficient_funds available=900 requested=1000
            09:06  sell2    naira -> poolngn 1440000 &          => posted 1440000
                   buy2     poolusd -> dollars 900 USD          => posted 900
            09:07  mixed    naira -> dollars 5                  => currency_mismatch account_currency=USD
    """)
    bank.shows("""
        account  balance
        naira    160000
        dollars  900
        poolngn  1440000
        poolusd  0
    """)


def test_a_customer_frozen_for_debits_still_repays() -> None:
    Bank("""
        account   side    limit
        customer  debit   5000
        bank      debit
    """).run("""
        Mon 09:00  borrow   customer -> bank 3000            => posted 3000
            09:10  stop     freeze customer debits           => done
            09:11  more     customer -> bank 100             => account_frozen frozen_for=debits
            09:12  repay    bank -> customer 1000            => posted 1000
            09:20  stopall  freeze customer                  => done
            09:21  repay2   bank -> customer 500             => account_frozen frozen_for=all
            09:30  go       unfreeze customer                => done
            09:31  repay2   bank -> customer 500             => account_frozen again
            09:32  repay3   bank -> customer 500             => posted 500
    """).shows("""
        account   balance  status  frozen_for
        customer  1500     open    -
    """)


def test_holds_on_a_frozen_account_are_voided_and_expire_but_are_not_captured() -> None:
    Bank(WALLETS).run("""
        Mon 09:00  topup    bank -> wallet 900               => posted 900
            09:00  one      hold wallet -> bank 300          => held 300
            09:00  two      hold wallet -> bank 300 for 1h   => held 300
            09:01  stop     freeze wallet                    => done
            09:02  take     capture one                      => account_frozen
            09:03  give     void one                         => voided 300
            10:00           time passes                      => expired two
    """).shows("""
        account  balance  debits_pending  status
        wallet   900      0               frozen
    """)


def test_an_account_closes_only_when_nothing_stands_or_is_held_on_it() -> None:
    Bank(WALLETS).run("""
        Mon 09:00  topup    bank -> wallet 500                => posted 500
            09:01  leave    close wallet                      => balance_not_zero balance=500 pending=0
            09:02  payout   hold wallet -> bank 500 for 1h    => held 500
            09:03  leave2   close wallet                      => balance_not_zero balance=500 pending=500
            09:04  paid     capture payout                    => posted 500
            09:05  in       hold bank -> wallet 10 for 10m    => held 10
            09:06  leave3   close wallet                      => balance_not_zero balance=0 pending=10
            09:15  leave4   close wallet                      => done
            09:16  topup2   bank -> wallet 1                  => account_closed
            09:17  late     force in                          => account_closed
            09:18  back     unfreeze wallet                   => account_closed
    """).shows("""
        account  balance  status
        wallet   0        closed
    """)


def test_a_limit_cut_below_the_exposure_stops_borrowing_until_it_is_paid_down() -> None:
    bank = Bank("""
        account   side    limit
        customer  debit   5000
        bank      debit
    """)
    bank.run("""
        Mon 09:00  borrow   customer -> bank 4000             => posted 4000
            09:00  auth     hold customer -> bank 500         => held 500
            10:00  cut      limit customer 1000               => done
            10:01  more     customer -> bank 1                => limit_exceeded headroom=0 requested=1
            10:02  take     capture auth                      => posted 500
            11:00  repay    bank -> customer 3600             => posted 3600
            11:01  more2    customer -> bank 101              => limit_exceeded headroom=100 requested=101
            11:02  more3    customer -> bank 100              => posted 100
            12:00  lift     limit customer none               => done
            12:01  more4    customer -> bank 99999            => posted 99999
    """)
    bank.shows("""
        account   balance  credit_limit  headroom
        customer  100999   -             -
    """)
    assert bank.events().count("AccountLimitChanged") == 2


def test_a_float_of_the_lenders_own_never_pays_out_more_than_it_holds() -> None:
    Bank("""
        account   side    floor
        float     debit   200
        investor  credit
        wallet    credit
    """).run("""
        Mon 09:00  fund     float -> investor 1000            => posted 1000
            09:01  payout   wallet -> float 801               => insufficient_funds available=800 requested=801
            09:02  hold1    hold wallet -> float 700          => held 700
            09:03  payout2  wallet -> float 101               => insufficient_funds available=100 requested=101
            09:04  in       hold float -> investor 500        => held 500
            09:05  payout3  wallet -> float 101               => insufficient_funds available=100 requested=101
            09:06  sweep    wallet -> float up to 900 by credit  => posted 100
            09:07  take     capture hold1                     => posted 700
            09:08  raise    floor float 300                   => done
            09:09  sweep2   wallet -> float up to 5 by credit => nothing_available
    """).shows("""
        account  balance  debits_pending  available
        float    200      500             0
        wallet   -800     0               -
    """)


def test_a_capture_is_reversed_like_any_posting_but_the_hold_stays_used() -> None:
    Bank(WALLETS).run("""
        Mon 09:00  topup    bank -> wallet 1000              => posted 1000
            09:01  payout   hold wallet -> bank 600          => held 600
            09:02  part     capture payout 400               => posted 400
            09:03  nohold   reverse payout                   => original_not_posted kind=hold
            09:04  back     reverse part 150                 => posted 150
            09:05  back2    reverse part 251                 => exceeds_original remaining=250 requested=251
            09:06  back3    reverse part                     => posted 250
            09:07  back4    reverse part                     => exceeds_original remaining=0 requested=400
            09:08  again    reverse back                     => original_is_reversal
            09:09  rest     capture payout                   => posted 200
    """).shows("""
        account  balance  debits_pending
        wallet   800      0
    """)


def test_a_reversal_never_takes_a_wallet_below_its_floor() -> None:
    Bank(WALLETS).run("""
        Mon 09:00  topup    bank -> wallet 1000              => posted 1000
            09:01  spend    wallet -> income 700             => posted 700
            09:02  back     reverse topup                    => insufficient_funds available=300 requested=1000
            09:03  back2    reverse topup 300                => posted 300
    """).shows("""
        account  balance
        wallet   0
    """)


def test_what_is_held_on_the_way_in_is_not_there_to_be_held_again() -> None:
    bank = Bank("""
        account  side    floor
        bank     debit
        agent    credit  0
        shop     credit  0
    """)
    bank.run("""
        Mon 09:00  topup    bank -> agent 1000               => posted 1000
            09:01  order1   hold agent -> shop 1000          => held 1000
            09:02  order2   hold shop -> bank 400            => insufficient_funds available=0 requested=400
            09:03  order3   hold agent -> bank 1             => insufficient_funds available=0 requested=1
            09:04  paid     capture order1 600               => posted 600
            09:05  order4   hold shop -> bank 400            => held 400
            09:06  cancel   void order1                      => voided 400
            09:07  order5   hold agent -> bank 400           => held 400
    """)
    bank.shows("""
        account  balance  debits_pending  credits_pending  available
        agent    400      400             0                0
        shop     600      400             0                200
        bank     1000     0               800              -
    """)


def test_a_hold_and_its_captures_in_one_linked_group_stand_or_fall_together() -> None:
    bank = Bank(WALLETS)
    bank.run("""
        Mon 09:00  topup    bank -> wallet 1000              => posted 1000
            09:01  h1       hold wallet -> bank 500 &        => linked_failed
                   c1       capture h1 200 &                 => linked_failed
                   v1       void h1 &                        => linked_failed
                   p1       wallet -> income 801             => insufficient_funds available=800 requested=801
            09:02  look     capture h1 1                     => hold_not_found
    """)
    bank.shows("""
        account  balance  debits_pending  version
        wallet   1000     0               1
    """)
    bank.run("""
        Mon 09:03  h2       hold wallet -> bank 500 &        => held 500
                   c2       capture h2 200 &                 => posted 200
                   c3       capture h2 100 &                 => posted 100
                   v2       void h2                          => voided 200
    """)
    told = [(draft.type, draft.aggregate.version) for draft in bank.book.drafts[1:]]
    assert told == [("HoldPlaced", 1), ("HoldCaptured", 2), ("HoldCaptured", 3), ("HoldVoided", 4)]


def test_the_first_refusal_of_a_group_names_its_cause_and_a_replay_tells_the_same_story() -> None:
    Bank(WALLETS).run("""
        Mon 09:00  topup    bank -> wallet 100               => posted 100
            09:01  a        wallet -> income 60 &            => linked_failed
                   b        wallet -> income 60 &            => insufficient_funds available=40
                   c        wallet -> nobody 1               => linked_failed
            09:02  topup2   bank -> wallet 100               => posted 100
            09:03  a        wallet -> income 60 &            => linked_failed again
                   b        wallet -> income 60 &            => insufficient_funds available=40 again
                   c        wallet -> nobody 1               => linked_failed again
    """)
