namespace Influence.Display;

/// <summary>Something that a notebook shows as a picture.</summary>
internal interface IPicture
{
    /// <summary>An HTML fragment; every text in it is encoded.</summary>
    string ToHtml();
}
