namespace Influence.Groups;

/// <summary>Examples whose gradients are summed: a random part of a group, or a whole one.</summary>
/// <param name="Group">The group's position among the groups.</param>
/// <param name="Positions">Where its examples are among all, ascending.</param>
internal sealed record GroupSlot(int Group, int[] Positions);
