namespace Influence.Display;

/// <summary>Something that a notebook shows. The method is public on each type: other front ends call it by its name.</summary>
internal interface IHtml
{
    /// <summary>An HTML fragment; every text in it is encoded.</summary>
    string ToHtml();
}
