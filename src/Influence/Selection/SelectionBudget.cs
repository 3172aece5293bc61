using System.Globalization;

namespace Influence.Selection;

/// <summary>How much to select: a number of examples, a share of the pool, or a number of tokens.</summary>
public sealed record SelectionBudget
{
    private readonly double _amount;
    private readonly Kind _kind;

    private SelectionBudget(Kind kind, double amount) => (_kind, _amount) = (kind, amount);

    private enum Kind
    {
        Count,
        Fraction,
        Tokens,
    }

    /// <summary>That many examples.</summary>
    /// <param name="examples">At least 1, at most as many as the pool has.</param>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public static SelectionBudget Count(long examples) =>
        examples >= 1 ? new(Kind.Count, examples) : throw new InfluenceException($"A budget is at least 1 example, not {examples}.");

    /// <summary>That share of the pool's examples, rounded to the nearest number, at least one.</summary>
    /// <param name="share">Above 0, at most 1.</param>
    /// <exception cref="InfluenceException">Outside of that.</exception>
    public static SelectionBudget Fraction(double share) =>
        share is > 0 and <= 1
            ? new(Kind.Fraction, share)
            : throw new InfluenceException(
                $"A budget is a share above 0 and at most 1, not {share.ToString(CultureInfo.InvariantCulture)}. "
                    + "For a number of examples write SelectionBudget.Count."
            );

    /// <summary>
    /// As many examples as fit into that many tokens. An example that no longer fits is passed over for the next best.
    /// </summary>
    /// <param name="tokens">Above 0; the pool needs <see cref="SelectionPool.Lengths"/>.</param>
    /// <exception cref="InfluenceException">Not above 0.</exception>
    public static SelectionBudget Tokens(long tokens) =>
        tokens >= 1 ? new(Kind.Tokens, tokens) : throw new InfluenceException($"A budget is at least 1 token, not {tokens}.");

    /// <summary>For example <c>10% of the pool</c>.</summary>
    /// <returns>The budget in words.</returns>
    public override string ToString() =>
        _kind switch
        {
            Kind.Count => string.Create(CultureInfo.InvariantCulture, $"{_amount:N0} examples"),
            Kind.Fraction => string.Create(CultureInfo.InvariantCulture, $"{_amount:0.####%} of the pool"),
            _ => string.Create(CultureInfo.InvariantCulture, $"{_amount:N0} tokens"),
        };

    /// <summary>The number of examples, where it is known beforehand; null for tokens.</summary>
    internal int? Examples(SelectionPool pool) =>
        _kind switch
        {
            Kind.Count => (int)_amount,
            Kind.Fraction => Math.Max(1, (int)Math.Round(_amount * pool.Count, MidpointRounding.AwayFromZero)),
            _ => null,
        };

    /// <summary>The number of tokens; null where examples are counted.</summary>
    internal long? TokenCount => _kind == Kind.Tokens ? (long)_amount : null;

    internal IEnumerable<string> Problems(SelectionPool pool)
    {
        if (_kind == Kind.Count && _amount > pool.Count)
        {
            yield return $"The budget is {_amount:N0} examples, but the pool has {pool.Count:N0}.";
        }

        if (_kind == Kind.Tokens)
        {
            if (pool.Lengths is not { } lengths)
            {
                yield return "A budget in tokens needs the pool's Lengths: new SelectionPool(ids) { Lengths = ... }.";
            }
            else if (lengths.Sum() < _amount)
            {
                yield return $"The budget is {_amount:N0} tokens, but the pool has {lengths.Sum():N0}.";
            }
            else if (lengths.Min() > _amount)
            {
                yield return $"The budget is {_amount:N0} tokens, but the shortest example has {lengths.Min():N0}.";
            }
        }
    }
}
