namespace Influence.Groups;

/// <summary>
/// From the scores of random parts of groups to the groups' own, with standard errors. With parts of m_b examples and sum S_b,
/// m = sum m_b, K parts and M examples in the group:
/// <code>mean = sum S_b / m,   group = M * mean,   error = M / m * sqrt(K / (K - 1) * sum over b of (S_b - m_b * mean)^2)</code>
/// </summary>
/// <param name="plan">The parts.</param>
/// <param name="values"><c>[parts, n]</c>: their scores.</param>
internal sealed class BlockSums(GroupPlan plan, double[,] values)
{
    /// <summary>Sums and standard errors, <c>[n, groups]</c>.</summary>
    public (double[,] Sums, double[,] Errors) Total()
    {
        var n = values.GetLength(1);
        var (sums, errors) = (new double[n, plan.Groups.Names.Count], new double[n, plan.Groups.Names.Count]);
        foreach (var parts in plan.Slots.Select((slot, s) => (slot, s)).GroupBy(pair => pair.slot.Group))
        {
            var sizes = parts.Select(part => (double)part.slot.Positions.Length).ToArray();
            var rows = parts.Select(part => part.s).ToArray();
            var scored = sizes.Sum();
            var scale = plan.Groups[plan.Groups.Names[parts.Key]].Count / scored;
            for (var q = 0; q < n; q++)
            {
                var sum = rows.Sum(s => values[s, q]);
                var spread = rows.Zip(sizes, (s, size) => values[s, q] - (size * sum / scored)).Sum(deviation => deviation * deviation);
                sums[q, parts.Key] = scale * sum;
                errors[q, parts.Key] = rows.Length > 1 ? scale * Math.Sqrt(spread * rows.Length / (rows.Length - 1)) : double.NaN;
            }
        }

        return (sums, errors);
    }
}
